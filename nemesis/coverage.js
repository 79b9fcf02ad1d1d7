/**
 * Verifies that a run did what it should: every fault happened often enough, with leaders on either side.
 *
 * Called by `nemesis.js`. A nemesis that strikes no node finds nothing, so it reports that.
 */
'use strict'

/** Each fault at least so often, over all runs of one command. */
const STRIKES_MIN = 3

/** @returns what is missing, as texts. */
function missingCoverage(faults, strikes) {
  const happened = strikes.filter(({ facts }) => facts !== null)
  const missing = faults.flatMap(({ name }) => {
    const count = happened.filter(({ fault }) => fault === name).length
    return count < STRIKES_MIN ? [`${name} happened ${count} times, not ${STRIKES_MIN}`] : []
  })
  for (const side of ['majority', 'minority']) {
    const isWanted = faults.some(({ leaderIn }) => leaderIn === side)
    const count = happened.filter(({ facts }) => facts.leaderIn === side).length
    if (isWanted && count < STRIKES_MIN)
      missing.push(`${count} cuts had a leader in the ${side}, not ${STRIKES_MIN}`)
  }
  return missing
}

module.exports = { STRIKES_MIN, missingCoverage }
