/**
 * Decides which faults come when: rounds in which every fault comes once, in a random order, some of them two at a
 * time.
 *
 * Called by `run.js`. It does not use the cluster.
 */
'use strict'

const MIXED = 0.3

/** Yields lists of faults that come together. The first round is of single faults. */
function* schedule(faults, random, rounds = Infinity) {
  for (let round = 1; round <= rounds; round++) {
    const rest = random.shuffle(faults)
    while (rest.length > 0) {
      const together = [rest.shift()]
      if (round > 1 && random.chance(MIXED)) {
        const other = rest.findIndex(fault => fitsWith(fault, together[0]))
        if (other >= 0) together.push(...rest.splice(other, 1))
      }
      yield together
    }
  }
}

/** Two that end processes may end too many; of two that touch Redis one may undo what the other did. */
function fitsWith(one, other) {
  return !(one.endsProcesses && other.endsProcesses) && !(one.touchesNetwork && other.touchesNetwork)
}

module.exports = { schedule }
