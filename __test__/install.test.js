/**
 * Loses the first frames of snapshots, and kills processes while they install one: each is caught up within
 * three seconds once it is let.
 *
 * CONFLUX_INSTALLS sets how often (default 8): half of them newcomers, half of them members that come back from their
 * disk too late for the log.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { startRedisServer } = require('../scripts/redis-server')
const { Cluster, quantile, until } = require('./cluster')
const { LossyRedis } = require('./lossy-redis')

const INSTALLS = Number(process.env.CONFLUX_INSTALLS ?? 8)
const SIZE = 3
const LANES = 4
const CAUGHT_UP_WITHIN_MS = 3000

/** A state of many chunks, and a frame that carries one: little else is as large here. */
const BALLAST_BYTES = 2 << 20
const CHUNK_BYTES_MIN = 4 << 10
/** No chunk is larger. */
const CHUNKS = BALLAST_BYTES / (256 << 10)
const LOST_MAX = 12

const SNAPSHOT_ENTRIES = 1000
const LOAD = { inFlight: 4, pause: 5 }

test(`${INSTALLS} snapshots whose first frames are lost, or whose receiver is killed`, async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-'))
  const options = { snapshot: { entries: SNAPSHOT_ENTRIES }, ballast: BALLAST_BYTES }
  const cluster = new Cluster(redis.url, { size: SIZE, folder, options })
  t.after(async () => {
    await cluster.kill()
    fs.rmSync(folder, { recursive: true, force: true })
  })
  await cluster.leader()
  cluster.load(LOAD)
  await cluster.acknowledgements(3 * SNAPSHOT_ENTRIES)

  const times = { lost: [], killed: [] }
  let next = 0
  const lanes = Array.from({ length: LANES }, async (_, number) => {
    const lane = await Lane.open(t, redis.url, cluster, `lane-${number + 1}`)
    for (let install = next++; install < INSTALLS; install = next++) {
      const fault = install % 2 === 0 ? 'lost' : 'killed'
      const isMember = install % 4 >= 2
      times[fault].push(await lane.install(fault, isMember))
    }
    await lane.end()
  })
  await Promise.all(lanes)

  await cluster.settle()
  for (const [fault, all] of Object.entries(times)) {
    t.diagnostic(
      `${fault}: ${all.length} caught up after p50 ${quantile(all, 0.5)} ms, p99 ${quantile(all, 0.99)} ms, ` +
        `max ${Math.max(...all)} ms`
    )
    const late = all.filter(time => time > CAUGHT_UP_WITHIN_MS)
    assert.deepEqual(
      late,
      [],
      `${fault}: ${late.length} of ${all.length} took more than ${CAUGHT_UP_WITHIN_MS} ms`
    )
  }
  await cluster.close()
})

/** One process after the other behind the same bad way to Redis. */
class Lane {
  #cluster
  #id
  #lossy
  #chunks = 0
  #lose = 0
  #member
  #count = 0

  static async open(t, redisUrl, cluster, id) {
    const lane = new Lane()
    lane.#cluster = cluster
    lane.#id = id
    lane.#lossy = await LossyRedis.start(redisUrl, frame => lane.#copies(frame))
    t.after(() => lane.#lossy.close())
    return lane
  }

  /** Lets one process need a snapshot, and hinders it; resolves with how long it took from then on to catch up. */
  async install(fault, isMember) {
    const id = `${this.#id}-${++this.#count}`
    const storage = isMember ? { path: this.#cluster.directory(id) } : undefined
    if (isMember) {
      this.#hinder(0)
      const former = this.#start(id, storage)
      await caughtUp(former, await this.#commitIndex())
      await former.kill()
      await this.#compaction()
    }
    const freedAt = await (fault === 'lost' ? this.#lost(id, storage) : this.#killed(id, storage))
    await caughtUp(this.#member, await this.#commitIndex())
    const time = Date.now() - freedAt
    await this.#member.kill()
    return time
  }

  async #lost(id, storage) {
    const lose = 1 + Math.floor(Math.random() * LOST_MAX)
    this.#hinder(lose)
    this.#start(id, storage)
    try {
      await until(`${lose} frames of the snapshot to be lost`, () => this.#chunks >= lose)
    } catch (error) {
      const statuses = [this.#cluster.members[0], this.#member].map(member => member.ask('status'))
      error.message += `, not ${this.#chunks}; ${JSON.stringify(await Promise.all(statuses), null, 2)}`
      throw error
    }
    return Date.now()
  }

  async #killed(id, storage) {
    const count = 1 + Math.floor(Math.random() * (CHUNKS - 1))
    this.#hinder(0)
    const doomed = this.#start(id, storage)
    await until(`${count} frames of the snapshot to arrive`, () => this.#chunks >= count)
    await doomed.kill()
    this.#hinder(0)
    const again = this.#start(id, storage)
    await until('the process to be up', () => again.opened !== null)
    return again.opened.at
  }

  #start(id, storage) {
    this.#member = this.#cluster.start(id, { storage }, { redisUrl: this.#lossy.url })
    return this.#member
  }

  async end() {
    if (this.#member?.isAlive) await this.#member.kill()
  }

  #hinder(lose) {
    this.#chunks = 0
    this.#lose = lose
  }

  #copies(frame) {
    if (frame.length < CHUNK_BYTES_MIN) return 1
    return ++this.#chunks <= this.#lose ? 0 : 1
  }

  /** As those know it who were never hindered. */
  async #commitIndex() {
    return (await this.#cluster.members[0].ask('status')).commitIndex
  }

  /** No log reaches back to this point any more: behind a snapshot a quarter as many entries are kept as are between two. */
  async #compaction() {
    const index = await this.#commitIndex()
    const founders = this.#cluster.members.slice(0, SIZE)
    await until('all logs to begin later', async () => {
      const statuses = await Promise.all(founders.map(member => member.ask('status')))
      return statuses.every(({ snapshotIndex }) => snapshotIndex > index + SNAPSHOT_ENTRIES)
    })
  }
}

async function caughtUp(member, index) {
  await until(`${member.origin} to catch up`, async () => (await member.ask('status')).appliedIndex >= index)
}
