/**
 * Runs scenarios: each case on each of its peers in turns (A B A B …), over rounds, every measurement on a
 * fresh cluster, with a deadline, and with its ledger checked. Called by `bench.js` and by a test.
 */
'use strict'

const { setTimeout: delay } = require('node:timers/promises')

const DEADLINE_SECONDS = 60

/** What a measurement leaves behind goes, whatever became of it. */
class Run {
  #deferred = []

  defer(end) {
    this.#deferred.push(end)
  }

  async end() {
    for (const end of this.#deferred.reverse()) await end()
  }
}

/**
 * @param settings `isQuick`, `redis`, `seconds` of a window, `rounds`, `repeatUntil`: when only first rounds are run any
 *   more; handed to the scenario's `cases` and `measure`.
 * @returns one record for each measurement: `{ scenario, case, peer, round, figures, ledger }`, or `failed`.
 */
async function runScenario(scenario, peers, settings, progress = () => {}) {
  const records = []
  const given = peers.filter(peer => scenario.peers.includes(peer.name))
  for (const which of scenario.cases(settings)) {
    const rounds = which.rounds ?? settings.rounds
    for (let round = 1; round <= rounds; round++) {
      // Better every figure once than some twice: on a slow machine, too, a run comes to its end.
      if (round > 1 && Date.now() > settings.repeatUntil) break
      for (const peer of given) {
        const rounds = which.roundsOf?.[peer.name] ?? Infinity
        if ((which.peers && !which.peers.includes(peer.name)) || round > rounds) continue
        progress(`${scenario.name}, ${which.title || 'all'}, round ${round}: ${peer.title}`)
        const record = { scenario: scenario.name, case: which.title, peer: peer.name, round }
        records.push({ ...record, ...(await measureOnce(scenario, peer, which, settings)) })
      }
    }
  }
  return records
}

async function measureOnce(scenario, peer, which, settings) {
  const run = new Run()
  const limit = new AbortController()
  const seconds = scenario.deadlineSeconds ?? DEADLINE_SECONDS
  const late = delay(seconds * 1000, undefined, { signal: limit.signal }).then(() => {
    throw new Error(`not done within ${seconds} s`)
  })
  try {
    const measured = measureAndAudit(scenario, peer, which, { ...settings, run })
    // Who is late is left alone with its processes killed; what it says then is of no interest.
    measured.catch(() => {})
    return await Promise.race([measured, late])
  } catch (error) {
    return { failed: error.message.split('\n')[0] }
  } finally {
    limit.abort()
    late.catch(() => {})
    await run.end()
  }
}

async function measureAndAudit(scenario, peer, which, settings) {
  const start = options => peer.start({ redis: settings.redis, ...options }, settings.run)
  const { cluster, ...figures } = await scenario.measure({ peer, which, start, ...settings })
  return cluster?.ledger ? { figures, ledger: await cluster.ledger() } : { figures }
}

/** Records of this tree whose ledger are wrong: nothing else that a run says counts then. */
function broken(records) {
  return records.filter(({ peer, ledger }) => isOurs(peer) && ledger && ledger.lost + ledger.doubled > 0)
}

/** This tree, over any channel. */
function isOurs(peer) {
  return ['conflux', 'conflux-tcp', 'conflux-local'].includes(peer)
}

module.exports = { broken, isOurs, runScenario }
