/**
 * One run: a cluster under load, faults one after the other, and at the end every check.
 *
 * Called by `nemesis.js`. After every fault the cluster must be whole and serve again: safety alone is easy.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { setTimeout: delay } = require('node:timers/promises')

const { Cluster } = require('./cluster')
const { Random } = require('./random')
const { schedule } = require('./schedule')
const workloads = require('./workloads')

/** What is said to be broken, rather than slow. */
const WHOLE_WITHIN_MS = 60_000
const SERVES_WITHIN_MS = 20_000

/** How long the load continues without a fault between two. */
const REST_MS = 300

/**
 * @param plan.name of the run, and of its folder.
 * @param plan.channel over which they reach each other: redis, tcp or local.
 * @param plan.workload what the processes do, of `workloads.js`.
 * @param plan.size how many processes.
 * @param plan.isDurable whether they have disks.
 * @param plan.seconds for how long faults begin, at most.
 * @param plan.grants until so many grants of locks are seen, if that is what the workload does.
 * @param plan.rounds how often every fault comes, at most.
 * @returns `{ anomalies, strikes, seconds, numbers }`; anomalies are texts.
 */
async function run(plan, say) {
  const folder = path.join(plan.folder, plan.name)
  fs.mkdirSync(folder, { recursive: true })
  const random = new Random(plan.seed)
  const workload = workloads[plan.workload]
  const cluster = await Cluster.start({
    size: plan.size,
    isDurable: plan.isDurable,
    channel: plan.channel,
    folder,
    clients: Math.ceil(plan.clients / plan.size),
    pause: plan.pause,
    program: workload.program,
    options: workload.options
  })
  const begun = performance.now()
  const strikes = []
  const anomalies = []
  const acknowledged = { finals: [] }
  try {
    await cluster.whole(WHOLE_WITHIN_MS)
    await strikeAll({ plan, cluster, random, strikes, say })
    acknowledged.finals = await settle(cluster)
  } catch (error) {
    anomalies.push(`the run did not come to its end: ${error.stack}`)
  } finally {
    await cluster.end()
  }
  const seconds = (performance.now() - begun) / 1000
  anomalies.push(...faultsOf(cluster, strikes), ...differences(acknowledged.finals))
  const checked = await workload.check({
    folder,
    plan,
    strikes,
    finals: acknowledged.finals,
    ids: cluster.ids
  })
  return { anomalies: [...anomalies, ...checked.anomalies], strikes, seconds, numbers: checked.numbers }
}

async function strikeAll({ plan, cluster, random, strikes, say }) {
  const end = performance.now() + plan.seconds * 1000
  for (const together of schedule(plan.faults, random, plan.rounds)) {
    if (performance.now() > end || (await hasEnough(cluster, plan))) return
    const term = await newestTerm(cluster)
    const begun = performance.now()
    const fresh = together.map(fault => ({
      fault: fault.name,
      mixedWith: together.length > 1,
      facts: null,
      from: monotonicMicros()
    }))
    const results = await Promise.allSettled(
      together.map((fault, i) => {
        // Dice of its own: which of two throws first is not in the seed.
        const faultRandom = new Random(Math.floor(random.next() * 2 ** 32))
        return fault.strike({ cluster, random: faultRandom, note: facts => (fresh[i].facts = facts) })
      })
    )
    const names = together.map(({ name }) => name).join(' + ')
    for (const { status, reason } of results) {
      if (status === 'fulfilled') continue
      // The checks go on, and what happened until now is the effect of these.
      const to = monotonicMicros()
      strikes.push(...fresh.map(strike => ({ ...strike, to })))
      throw new Error(`during ${names}: ${reason.stack}`)
    }
    const held = Math.round(performance.now() - begun)
    await naming(names, () => cluster.whole(WHOLE_WITHIN_MS))
    const wholeAfter = Math.round(performance.now() - begun) - held
    const servesAfter = await naming(names, () => cluster.serves(SERVES_WITHIN_MS))
    const to = monotonicMicros()
    const elections = (await newestTerm(cluster)) - term
    for (const strike of fresh) strikes.push({ ...strike, to, held, wholeAfter, servesAfter, elections })
    say(
      `${names}: held ${held} ms, whole after ${wholeAfter} ms more ${JSON.stringify(fresh.map(f => f.facts))}`
    )
    await delay(REST_MS)
  }
}

/** As histories have it. */
function monotonicMicros() {
  return Number(process.hrtime.bigint() / 1000n)
}

/** Tokens of locks count the grants. */
async function hasEnough(cluster, { grants }) {
  if (grants === undefined) return false
  const finals = await Promise.all(
    cluster.living.map(member => member.ask('finalState').catch(() => ({ count: 0 })))
  )
  return Math.max(...finals.map(({ count }) => count)) >= grants
}

/** Terms count the elections. */
async function newestTerm(cluster) {
  return Math.max(...(await cluster.statuses()).map(({ status }) => status.term))
}

async function naming(names, wait) {
  try {
    return await wait()
  } catch (error) {
    throw new Error(`after ${names}: ${error.message}`, { cause: error })
  }
}

/** Ends the clients, and gives what every process then says is current. */
async function settle(cluster) {
  await cluster.whole(WHOLE_WITHIN_MS)
  await Promise.all(cluster.living.map(member => member.ask('stop', undefined, 20_000)))
  return Promise.all(cluster.living.map(member => member.ask('finalState', undefined, 15_000)))
}

function differences([first, ...others]) {
  return others
    .filter(state => JSON.stringify(state) !== JSON.stringify(first))
    .map(
      state =>
        `at the end two processes held different states, after ${first.count} and ${state.count} actions`
    )
}

/** Faults of processes, and ends of processes, that no fault of ours explains. */
function faultsOf(cluster, strikes) {
  const expected = new Set(strikes.flatMap(({ facts }) => facts?.expects ?? []))
  const faults = cluster.faults
    .filter(({ code, origin }) => !expected.has(`${origin} ${code}`))
    .map(({ origin, code, message }) => `${origin} failed: ${code}: ${message}`)
  const ended = cluster.members
    .filter(({ exit }) => typeof exit === 'number' && exit !== 0 && exit !== 3)
    .map(({ origin, exit }) => `${origin} ended with exit code ${exit}`)
  return [...faults, ...ended]
}

module.exports = { run }
