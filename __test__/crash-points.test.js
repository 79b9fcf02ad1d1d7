/**
 * Ends processes at named points of their own code, and starts them again from disk: nothing acknowledged is
 * lost, nothing is done twice, and every start succeeds.
 *
 * CONFLUX_CRASHES sets how often at each point (default 1). The addon is one that is built for this test: only there can
 * a process end itself (`src/crash.rs`).
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { startRedisServer } = require('../scripts/redis-server')
const { read, root } = require('../scripts/steps')
const { contains } = require('./ledger')
const { Cluster, until } = require('./cluster')

const CRASHES = Number(process.env.CONFLUX_CRASHES ?? 1)

/** A point, and after how many passages at most a crash comes: within about a second under load. */
const POINTS = {
  'before-start': 1,
  'after-start': 1,
  'before-save': 200,
  'before-entries': 200,
  'after-entries': 200,
  'before-hard-state': 200,
  'after-hard-state': 200,
  'before-sync': 400,
  'after-sync': 400,
  'before-header': 400,
  'after-header': 400,
  'after-save': 200,
  'before-send': 400,
  'after-send': 400,
  'before-apply': 400,
  'after-apply': 400,
  'before-snapshot': 3,
  'within-snapshot': 3,
  'after-snapshot': 3,
  'before-truncation': 3,
  'after-truncation': 3
}

/** Passed only where a replica begins: by a process that has no directory yet. */
const POINTS_OF_A_NEW_SEAT = ['before-rename', 'between-renames', 'after-rename']

/** Often enough for its points to be passed soon. */
const SNAPSHOT_ENTRIES = 300

test(`a crash at each of ${Object.keys(POINTS).length + POINTS_OF_A_NEW_SEAT.length} points, ${CRASHES} times`, async t => {
  const addon = buildAddon(t)
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  let total = 0

  const openCluster = async t => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-'))
    const cluster = new Cluster(redis.url, {
      folder,
      options: { snapshot: { entries: SNAPSHOT_ENTRIES } },
      env: { NAPI_RS_NATIVE_LIBRARY_PATH: addon }
    })
    t.after(async () => {
      await cluster.kill()
      fs.rmSync(folder, { recursive: true, force: true })
    })
    await cluster.leader()
    cluster.load({ inFlight: 10, pause: 2 })
    await cluster.acknowledgements(100)
    return cluster
  }

  for (const [point, passagesMax] of Object.entries(POINTS)) {
    await t.test(point, async t => {
      const cluster = await openCluster(t)
      for (let crash = 1; crash <= CRASHES; crash++) {
        const [targetNode] = cluster.living
        await targetNode.kill()
        await cluster.acknowledgements(20)
        const passages = 1 + Math.floor(Math.random() * passagesMax)
        const doomed = cluster.start(targetNode.id, {}, crashAt(point, passages))
        doomed.load({ inFlight: 10, pause: 2 })
        // Every other time as the leader, if it lives to be one.
        if (crash % 2 === 0) {
          doomed
            .ask('ready')
            .then(() => doomed.ask('transferLeadership', doomed.id))
            .catch(() => {})
        }
        await crashed(doomed, point)

        await assertStarts(cluster, doomed, [targetNode, doomed])
        total++
      }
      await cluster.whole()
      const { acknowledged } = await cluster.settle()
      t.diagnostic(`${CRASHES} crashes, ${acknowledged} acknowledged, 0 lost, 0 doubled`)
      await cluster.close()
    })
  }

  await t.test('the points of a new replica', async t => {
    const cluster = await openCluster(t)
    for (const point of POINTS_OF_A_NEW_SEAT) {
      for (let crash = 1; crash <= CRASHES; crash++) {
        const doomed = cluster.start(`${point}-${crash}`, {}, crashAt(point, 1))
        await crashed(doomed, point)
        await (await assertStarts(cluster, doomed, [doomed])).kill()
        total++
      }
    }
    const { acknowledged } = await cluster.settle()
    t.diagnostic(`${3 * CRASHES} crashes, ${acknowledged} acknowledged, 0 lost, 0 doubled`)
    await cluster.close()
  })
  t.diagnostic(`${total} crashes, 0 failed starts`)
})

test('the addon that is shipped knows no point', () => {
  const addons = fs.readdirSync(root).filter(name => name.endsWith('.node'))
  assert.notEqual(addons.length, 0)
  for (const addon of addons) {
    assert.ok(!fs.readFileSync(path.join(root, addon)).includes('CONFLUX_CRASH_POINT'), addon)
  }
})

/** Builds the addon that knows the points; returns where it is. */
function buildAddon(t) {
  const text = read('cargo', ['build', '--lib', '--locked', '--features', 'crash-points', '--message-format=json', '--quiet']) // prettier-ignore
  const messages = text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  const built = messages.filter(({ target, filenames }) => filenames && target?.name === 'conflux')
  const library = built.at(-1).filenames.find(name => /\.(so|dylib|dll)$/.test(name))
  // Node loads an addon by this ending only.
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-addon-'))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }))
  const addon = path.join(folder, 'conflux.node')
  fs.copyFileSync(library, addon)
  return addon
}

function crashAt(point, passages) {
  return { env: { CONFLUX_CRASH_POINT: `${point}:${passages}` } }
}

async function crashed(doomed, point) {
  await until(`the process to crash at ${point}`, () => !doomed.isAlive)
  assert.deepEqual(doomed.faults, [])
  assert.equal(doomed.signal, 'SIGABRT', 'it ended, but not by itself')
}

/** Starts the process again from its disk, without a point: it replays what it had acknowledged, and serves. */
async function assertStarts(cluster, doomed, formers) {
  const again = cluster.start(doomed.id)
  again.load({ inFlight: 10, pause: 2 })
  await again.ask('ready')
  const ledger = await again.ask('state')
  for (const former of formers) {
    const missing = former.acknowledged.filter(({ thing }) => !contains(ledger, thing))
    assert.deepEqual(missing, [], `${again.origin} has lost what ${former.origin} had acknowledged`)
  }
  await cluster.acknowledgements(20, ({ thing }) => thing.startsWith(`${again.origin}:`))
  return again
}
