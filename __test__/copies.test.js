/**
 * Shows that a copied or an older storage directory is noticed by the other members and refused under load, that
 * the rightful process serves on, that nothing is acknowledged on a copy's word, and that restarts and moves still work.
 *
 * CONFLUX_COPIES sets how many copies are tried (default 4).
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { startRedisServer } = require('../scripts/redis-server')
const { Cluster, until } = require('./cluster')

const COPIES = Number(process.env.CONFLUX_COPIES ?? 4)

async function durableCluster(t) {
  const redis = await startRedisServer()
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-'))
  const cluster = new Cluster(redis.url, { folder })
  t.after(async () => {
    await cluster.kill()
    redis.kill()
    fs.rmSync(folder, { recursive: true, force: true })
  })
  await cluster.leader()
  const copyOf = id => {
    const to = path.join(folder, `copy-${cluster.members.length}-${id}`)
    fs.cpSync(cluster.directory(id), to, { recursive: true })
    return to
  }
  return { cluster, copyOf, startOn: (id, directory) => cluster.start(id, { storage: { path: directory } }) }
}

/** Its process reports with which of these codes it has failed, and ends. */
async function refused(member, ...codes) {
  await until(`${member.id} is refused`, () => member.faults.length > 0)
  assert.ok(codes.includes(member.faults[0].code), JSON.stringify(member.faults))
  assert.match(member.faults[0].message, /delete this directory/)
  await member.kill()
}

const COPIED = 'ERR_CONFLUX_STORAGE_COPIED'
const OUTDATED = 'ERR_CONFLUX_STORAGE_OUTDATED'

/** A directory is copied while its process runs; a copy of a file that is being written may be no good: then another. */
async function startCopy({ copyOf, startOn }, id) {
  const copy = startOn(id, copyOf(id))
  await until('the copy is refused', () => copy.faults.length > 0)
  if (copy.faults[0].code !== 'ERR_CONFLUX_STORAGE_DAMAGED') return copy
  await copy.kill()
  return startCopy({ copyOf, startOn }, id)
}

test('a copy beside its member is refused under any leader, and the member serves on', async t => {
  const given = await durableCluster(t)
  const { cluster } = given
  cluster.load({ inFlight: 5, pause: 2 })
  await cluster.acknowledgements(50)
  for (let i = 0; i < COPIES; i++) {
    const member = cluster.members[i % 3]
    await refused(await startCopy(given, member.id), COPIED)
    await cluster.acknowledgements(50, ({ thing }) => thing.startsWith(`${member.origin}:`))
    if (i % 2 === 1) await cluster.living[0].ask('transferLeadership', cluster.members[(i + 1) % 3].id)
  }
  assert.ok(
    cluster.living.some(({ warnings }) => warnings.some(({ code }) => code === 'WARN_CONFLUX_STORAGE_COPIED'))
  )
  const { acknowledged } = await cluster.settle()
  t.diagnostic(`${COPIES} copies refused, ${acknowledged} acknowledged, 0 lost`)
})

test('a directory that is put back is refused, and nothing is acknowledged on its word', async t => {
  const { cluster, copyOf, startOn } = await durableCluster(t)
  const [a, b, c] = cluster.members
  let member = a
  for (let i = 0; i < COPIES; i++) {
    await cluster.whole()
    await member.close()
    const older = copyOf('node-1')
    member = cluster.start('node-1')
    await cluster.whole()
    b.load({ inFlight: 5, pause: 2 })
    await cluster.acknowledgements(50)
    await b.ask('stop')
    await member.kill()
    // Only one voter is left that has not forgotten.
    c.pause()
    const before = cluster.acknowledged.length
    b.load({ inFlight: 2, pause: 2 })
    const copy = startOn('node-1', older)
    await refused(copy, OUTDATED)
    // What was under way when c stopped.
    assert.ok(
      cluster.acknowledged.length <= before + 4,
      `${cluster.acknowledged.length - before} acknowledged`
    )
    c.resume()
    await cluster.acknowledgements(20)
    await b.ask('stop')
    member = cluster.start('node-1')
  }
  await cluster.whole()
  const { acknowledged } = await cluster.settle()
  t.diagnostic(`${COPIES} older directories refused, ${acknowledged} acknowledged, 0 lost`)
})

test('an older directory is refused also where all have been restarted', async t => {
  const { cluster, copyOf, startOn } = await durableCluster(t)
  const [a] = cluster.members
  await cluster.whole()
  await a.close()
  const older = copyOf('node-1')
  const again = cluster.start('node-1')
  await cluster.whole()
  cluster.load({ inFlight: 2, pause: 2 })
  await cluster.acknowledgements(50)
  await Promise.all(cluster.living.map(member => member.ask('stop')))
  await cluster.kill()
  const others = ['node-2', 'node-3'].map(id => cluster.start(id))
  await refused(startOn('node-1', older), OUTDATED)
  await Promise.all(others.map(member => member.ask('ready')))
  cluster.start('node-1')
  await cluster.whole()
  assert.equal(again.isAlive, false)
  await cluster.settle()
})

test('of a directory that is used in two places the first one stays', async t => {
  const { cluster, copyOf, startOn } = await durableCluster(t)
  const [a] = cluster.members
  await cluster.whole()
  await a.kill()
  const copy = copyOf('node-1')
  const moved = startOn('node-1', copy)
  await moved.ask('ready')
  await cluster.whole()
  await refused(cluster.start('node-1'), COPIED, OUTDATED)
  moved.load({ inFlight: 5, pause: 2 })
  await cluster.acknowledgements(50)
  await cluster.settle()
})

test('restarts after kill -9, moves, and starts that no other node heard still work', async t => {
  const { cluster, startOn } = await durableCluster(t)
  const [, , client] = cluster.members
  await cluster.whole()
  client.load({ inFlight: 5, pause: 5 })
  const id = 'node-1'
  let directory = cluster.directory(id)
  for (let i = 0; i < COPIES; i++) {
    const member = cluster.living.find(member => member.id === id)
    await member.kill()
    // It reaches no server, and ends again.
    const unheard = cluster.start(id, { storage: { path: directory } }, { redisUrl: 'redis://127.0.0.1:1' })
    await until('it runs', () => unheard.opened !== null)
    await unheard.kill()
    if (i % 2 === 0) {
      const to = `${cluster.directory(id)}-moved-${i}`
      fs.renameSync(directory, to)
      directory = to
    }
    const again = startOn(id, directory)
    await again.ask('ready')
    await cluster.whole()
    await cluster.acknowledgements(20)
  }
  assert.ok(cluster.living.every(({ faults }) => faults.length === 0))
  await cluster.settle()
})
