/**
 * This file shows that a hanging disk affects only its own node: a leader hands over, and no node leads whose disk does
 * not answer. Syncs are delayed by a preloaded library (`nemesis/disk-delay.c`).
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { libraryOfDisk, writeDiskDelay } = require('../nemesis/disk-delay')
const { startRedisServer } = require('../scripts/redis-server')
const { Cluster, until } = require('./cluster')

const HANGS_MS = 3_600_000
/** A write is overdue after two election timeouts; this is below. */
const IN_TIME_MS = 200

const skip = libraryOfDisk() === null && 'needs Linux and a C compiler'

/** Three processes under load, and `delay(member, ms)` for the syncs of one. */
async function slowableCluster(t) {
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
  cluster.load()
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
