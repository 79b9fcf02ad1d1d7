/**
 * Is `npm run bench:life`: what a long life costs: how long a node takes that joins late or restarts from its disk,
 * how much memory a leader needs after many actions, and how a large state travels.
 *
 * `-- --quick` runs with a tenth of the actions and of the state. Three processes over Redis; it prints a table beside
 * the limits that the project sets itself. Timings are no tests: a figure over its limit is marked, and that is all.
 */
'use strict'

const { randomUUID } = require('node:crypto')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { setTimeout: delay } = require('node:timers/promises')

const { startRedisServer } = require('../scripts/redis-server')
const { build, install, main } = require('../scripts/steps')
const { Process } = require('./process')

const IDS = ['a', 'b', 'c']
const IN_FLIGHT = 1000
const MIB = 1024 * 1024

main(async () => {
  const scale = process.argv.includes('--quick') ? 0.1 : 1
  if (!process.argv.includes('--built')) {
    await install()
    await build()
  }
  const redis = await startRedisServer()
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-'))
  try {
    await measureMemory(redis, 1e6 * scale)
    await measureDisk(redis, 1e6 * scale, folder)
    await measureLargeState(redis, 64 * MIB * scale)
  } finally {
    await redis.kill()
    fs.rmSync(folder, { recursive: true, force: true })
  }
})

/** The leader's memory does not depend on how much it has done, nor does the time that a newcomer takes. */
async function measureMemory(redis, actions) {
  await withCluster({ redis }, async cluster => {
    const leader = await cluster.leader()
    await leader.ask('burst', { actions: actions / 10, inFlight: IN_FLIGHT })
    const before = await leader.ask('residentBytes')
    const start = performance.now()
    await leader.ask('burst', { actions: actions - actions / 10, inFlight: IN_FLIGHT })
    const perSecond = (actions - actions / 10) / ((performance.now() - start) / 1000)
    const after = await leader.ask('residentBytes')

    print(`calls per second, ${count(IN_FLIGHT)} in flight, in memory`, count(perSecond))
    print(`leader's memory after ${count(actions / 10)} actions`, megabytes(before))
    print(`leader's memory after ${count(actions)} actions`, megabytes(after))
    print('  more', `${((after / before - 1) * 100).toFixed(1)} %`, after / before <= 1.2 || '> 20 %')

    const joining = performance.now()
    const newcomer = cluster.start('d')
    expectCount(await newcomer.ask('caughtUp'), actions)
    printTime(`start of a joiner to caught up, ${count(actions)} actions behind`, joining, 3)
  })
}

async function measureDisk(redis, actions, folder) {
  await withCluster({ redis, folder: path.join(folder, 'compacted') }, async cluster => {
    const leader = await cluster.leader()
    const start = performance.now()
    await leader.ask('burst', { actions, inFlight: IN_FLIGHT })
    print(
      `calls per second, ${count(IN_FLIGHT)} in flight, on disk`,
      count(actions / ((performance.now() - start) / 1000))
    )
    await measureRestarts(cluster, actions, 'from disk')
  })
  const uncompacted = { entries: 1e9, bytes: 1e12 }
  await withCluster({ redis, folder: path.join(folder, 'whole'), snapshot: uncompacted }, async cluster => {
    await (await cluster.leader()).ask('burst', { actions, inFlight: IN_FLIGHT })
    await measureRestarts(cluster, actions, 'from disk, the log never cut')
  })
}

async function measureRestarts(cluster, actions, how) {
  const { id } = await (await cluster.leader()).ask('status')
  const follower = IDS.find(other => other !== id)
  cluster.kill(follower)
  const start = performance.now()
  expectCount(await cluster.start(follower).ask('caughtUp'), actions)
  printTime(`restart of one ${how}`, start, 3)

  for (const id of IDS) cluster.kill(id)
  const allStart = performance.now()
  const counts = await Promise.all(IDS.map(id => cluster.start(id).ask('caughtUp')))
  for (const found of counts) expectCount(found, actions)
  printTime(`restart of all ${how}`, allStart, 3)
}

async function measureLargeState(redis, bytes) {
  await withCluster({ redis, snapshot: { entries: 100 } }, async cluster => {
    const leader = await cluster.leader()
    await leader.ask('fill', bytes)
    // In a snapshot, so that a newcomer cannot get it as the short action that made it.
    await leader.ask('burst', { actions: 1000, inFlight: 10 })
    await eventually(async () => {
      const { lastIndex, snapshotIndex } = await (await cluster.leader()).ask('status')
      return snapshotIndex > 100 && lastIndex - snapshotIndex < 2000
    })
    const { bytes: size, digest } = await (await cluster.leader()).ask('digest')

    const performer = await cluster.leader()
    const trickling = performer.ask('trickle')
    const clients = watchClients(redis)
    const start = performance.now()
    const newcomer = cluster.start('d')
    await newcomer.ask('caughtUp')
    printTime(`start of a joiner to caught up, a state of ${(size / MIB).toFixed(0)} MiB`, start, 10)
    if ((await newcomer.ask('digest')).digest !== digest) throw new Error('the joiner has another state')
    const gap = await performer.ask('longestGap')
    await trickling
    const { dropped, longestBuffer } = await clients()
    print('  longest pause between two commits meanwhile', `${gap.toFixed(0)} ms`)
    print("  longest of Redis's output buffers meanwhile", megabytes(longestBuffer))
    print('  connections that Redis dropped', count(dropped), dropped === 0 || '> 0')
    const warnings = await Promise.all(cluster.processes.map(process => process.ask('warnings')))
    const broken = warnings.flat().filter(code => code === 'WARN_CONFLUX_CHANNEL_BROKEN').length
    print('  warnings of a broken channel', count(broken), broken === 0 || '> 0')
  })
}

async function withCluster(options, measure) {
  const cluster = new Cluster(options)
  try {
    await measure(cluster)
  } finally {
    for (const id of [...cluster.ids]) cluster.kill(id)
  }
}

class Cluster {
  #options
  #folder
  #processes = new Map()

  constructor({ redis, folder, ...options }) {
    const channel = { name: 'redis', connectionString: redis.url, channelName: `bench-${randomUUID()}` }
    this.#options = { clusterSize: IDS.length, channel, ...options }
    this.#folder = folder
    for (const id of IDS) this.start(id)
  }

  start(id) {
    const storage = this.#folder && { path: path.join(this.#folder, id) }
    const process = new Process('life-node.js', { ...this.#options, id, storage }, ['--expose-gc'])
    this.#processes.set(id, process)
    return process
  }

  kill(id) {
    this.#processes.get(id).kill()
    this.#processes.delete(id)
  }

  get ids() {
    return this.#processes.keys()
  }

  get processes() {
    return [...this.#processes.values()]
  }

  async leader() {
    let leader
    await eventually(async () => {
      const statuses = await Promise.all(this.processes.map(process => process.ask('status')))
      leader = this.processes[statuses.findIndex(({ role }) => role === 'leader')]
      return leader !== undefined
    })
    return leader
  }
}

async function eventually(holds) {
  for (const deadline = Date.now() + 120_000; !(await holds()); await delay(20)) {
    if (Date.now() > deadline) throw new Error('waited for two minutes')
  }
}

/**
 * Looks at the connections to Redis until the returned function is called: how many came to an end, and how many bytes
 * waited for one of them at most.
 */
function watchClients(redis) {
  const seen = new Set()
  let current = new Set()
  let longestBuffer = 0
  const look = async () => {
    current = new Set()
    for (const line of (await redis.command('CLIENT', 'LIST')).split('\n')) {
      const [, id, buffer] = /^.*\bid=(\d+) .* omem=(\d+) /.exec(line) ?? []
      // Who looks is no concern of ours.
      if (id === undefined || line.includes('cmd=client|list')) continue
      seen.add(id)
      current.add(id)
      longestBuffer = Math.max(longestBuffer, Number(buffer))
    }
  }
  let isWatching = true
  const watching = (async () => {
    for (; isWatching; await delay(5)) await look()
  })()
  return async () => {
    isWatching = false
    await watching
    await look()
    return { dropped: seen.size - current.size, longestBuffer }
  }
}

function expectCount(found, expected) {
  if (found !== expected) throw new Error(`the state counts ${found} actions, not ${expected}`)
}

function printTime(title, start, limitSeconds) {
  const seconds = (performance.now() - start) / 1000
  print(title, `${seconds.toFixed(2)} s`, seconds <= limitSeconds || `> ${limitSeconds} s`)
}

function print(title, figure, isGood = true) {
  console.log(title.padEnd(70) + figure.padStart(12) + (isGood === true ? '' : `  ${isGood}`))
}

function count(number) {
  return Math.round(number).toLocaleString('en')
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
