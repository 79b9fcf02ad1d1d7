/**
 * Shows that the cluster serves on while a disk hangs: a leader hands over, no node leads whose disk does not answer,
 * and what is called on such a node is answered like what others perform. Syncs are delayed by a preloaded library
 * (`nemesis/disk-delay.c`).
 *
 * CONFLUX_HANGS sets how often a disk hangs (default 2), a leader's and a follower's in turn, from 0.2 s to 2 s, or to
 * 20 s if it is set; the test prints the longest time without an answer at the end.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')
const { setTimeout: delayed } = require('node:timers/promises')

const { libraryOfDisk, writeDiskDelay } = require('../nemesis/disk-delay')
const { startRedisServer } = require('../scripts/redis-server')
const { Cluster, until } = require('./cluster')

const HANGS_MS = 3_600_000
/** A write is overdue after two election timeouts of 500 ms at most; the first of these is below, and the second above. */
const IN_TIME_MS = 200
const OVERDUE_MS = 1500

const HANGS = Number(process.env.CONFLUX_HANGS ?? 2)
const LONGEST_MS = process.env.CONFLUX_HANGS ? 20_000 : 2000

const skip = libraryOfDisk() === null && 'needs Linux and a C compiler'

/** Three processes under `load`, and `delay(member, ms)` for the syncs of one. */
async function slowableCluster(t, load) {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-'))
  const cluster = new Cluster(redis.url, { folder, size: 0, options: { clusterSize: 3 } })
  t.after(async () => {
    await cluster.kill()
    fs.rmSync(folder, { recursive: true, force: true })
  })
  const delayFile = id => path.join(folder, `${id}.delay`)
  for (const id of ['a', 'b', 'c']) {
    cluster.start(id, {}, { env: { LD_PRELOAD: libraryOfDisk(), DISK_DELAY_FILE: delayFile(id) } })
  }
  const delay = (member, milliseconds) => writeDiskDelay(delayFile(member.id), milliseconds)
  await cluster.leader()
  cluster.load(load)
  await cluster.acknowledgements(300)
  return { cluster, delay }
}

const isSlow = ({ code }) => code === 'WARN_CONFLUX_STORAGE_SLOW'

test('a leader whose disk hangs hands over, and says so once', { skip }, async t => {
  const { cluster, delay } = await slowableCluster(t)
  const former = await cluster.leader()
  const others = cluster.living.filter(member => member !== former)
  delay(former, HANGS_MS)
  await until('another leader', async () => {
    const { leader } = await others[0].ask('status')
    return leader !== null && leader !== former.id
  })
  const before = others[0].acknowledged.length
  await until('the others to be served', () => others[0].acknowledged.length > before + 300)
  const own = former.acknowledged.length
  await until('its own callers to be served', () => former.acknowledged.length > own + 300)
  await former.ask('read')
  assert.equal(former.warnings.filter(isSlow).length, 1)
  assert.deepEqual(others.flatMap(({ warnings }) => warnings).filter(isSlow), [])

  delay(former, 0)
  await cluster.settle()
  await cluster.close()
})

test('a disk that answers in time costs no leader', { skip }, async t => {
  const { cluster, delay } = await slowableCluster(t)
  const leader = await cluster.leader()
  const { term } = await leader.ask('status')
  delay(leader, IN_TIME_MS)
  await cluster.acknowledgements(500)
  assert.equal((await leader.ask('status')).term, term)
  assert.deepEqual(leader.warnings.filter(isSlow), [])
  delay(leader, 0)
  await cluster.settle()
  await cluster.close()
})

test(
  `callers on a node whose disk hangs are served, and so are the others, ${HANGS} times`,
  { skip },
  async t => {
    const { cluster, delay } = await slowableCluster(t, { inFlight: 20, pause: 5 })
    const longest = { leader: { own: 0, others: 0 }, follower: { own: 0, others: 0 } }
    let needless = 0

    for (let hang = 0; hang < HANGS; hang++) {
      const role = hang % 2 === 0 ? 'leader' : 'follower'
      const leader = await cluster.leader()
      const hung = role === 'leader' ? leader : cluster.living.find(member => member !== leader)
      const milliseconds = IN_TIME_MS * (LONGEST_MS / IN_TIME_MS) ** (hang / Math.max(1, HANGS - 1))
      const { term } = await leader.ask('status')
      const from = Date.now()
      delay(hung, HANGS_MS)
      await delayed(milliseconds)
      if (milliseconds > OVERDUE_MS) {
        const own = hung.acknowledged.length
        await until('its own callers to be served', () => hung.acknowledged.length > own + 100)
      }
      delay(hung, 0)
      const to = Date.now()
      for (const member of cluster.living) {
        const whose = member === hung ? 'own' : 'others'
        longest[role][whose] = Math.max(longest[role][whose], silence(member, from, to))
      }
      await cluster.acknowledgements(300, ({ at }) => at > to)
      await hung.ask('read')
      if (milliseconds < OVERDUE_MS / 2 && (await hung.ask('status')).term !== term) needless++
    }

    const { acknowledged } = await cluster.settle()
    const describe = ({ own, others }) => `${others} ms for the others, ${own} ms on the node itself`
    t.diagnostic(
      `${HANGS} hangs of ${IN_TIME_MS} to ${LONGEST_MS} ms; longest silence while a leader's disk hung: ` +
        `${describe(longest.leader)}; a follower's: ${describe(longest.follower)}; ` +
        `${needless} elections below the limit; ${acknowledged} acknowledged, 0 lost, 0 doubled`
    )
    await cluster.close()
  }
)

/** The longest time in which nothing was acknowledged to a member. */
function silence({ acknowledged }, from, to) {
  const times = acknowledged.map(({ at }) => at).filter(at => at >= from && at <= to)
  let before = from
  let longest = 0
  for (const at of [...times, to]) {
    longest = Math.max(longest, at - before)
    before = at
  }
  return longest
}
