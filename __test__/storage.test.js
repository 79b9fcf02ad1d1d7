// Shows that a node with storage comes back as who it was, with everything that was acknowledged, or says
// why not.

'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { elected, list, openNode, rejection, runScript } = require('./nodes')

const opened = new Set()

/** A directory of this test's own, which goes when all nodes are closed that were opened in it. */
function directory(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-'))
  t.after(async () => {
    await Promise.all([...opened].map(node => node.close()))
    opened.clear()
    fs.rmSync(folder, { recursive: true, force: true })
  })
  return folder
}

/** `open(id)` for the nodes of one cluster, each with a directory of its own below `folder`. */
function cluster(t, clusterSize, folder, given = {}) {
  const channel = { name: 'memory', channelName: randomUUID() }
  return (id, storage = { path: path.join(folder, id) }) => {
    const node = openNode(t, { id, clusterSize, channel, ...list, storage, ...given })
    opened.add(node)
    return node
  }
}

const failure = node => new Promise(resolve => node.on('error', resolve))

/** Every file below the folder, with its content. */
const content = folder =>
  fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => path.join(entry.parentPath ?? entry.path, entry.name))
    .map(file => [file, fs.readFileSync(file)])

test('a node comes back with its state, which cannot be read before the replay', async t => {
  const open = cluster(t, 1, directory(t))
  const first = open('a')
  for (let i = 0; i < 100; i++) await first.perform('append', [i])
  const { cluster: uuid, incarnation } = first.status()
  await first.close()

  const again = open('a')
  const seen = []
  again.subscribe(() => seen.push(again.getState().length))
  assert.throws(again.getState, { code: 'ERR_CONFLUX_NOT_READY' })
  assert.throws(again.getProvisionalState, { code: 'ERR_CONFLUX_NOT_READY' })
  await again.ready()
  assert.deepEqual(again.getState(), [...Array(100).keys()])
  assert.deepEqual(seen, [100])
  assert.deepEqual([again.status().cluster, again.status().incarnation], [uuid, incarnation])
  assert.equal(await again.perform('append', ['new']), 'new')
  assert.equal(again.getState().length, 101)
})

test('a node with an empty directory is ready without ado', async t => {
  const node = cluster(t, 1, directory(t))('a')
  await node.ready()
  assert.deepEqual(node.getState(), [])
})

test('a state that is more than JSON comes back by serialize and deserialize', async t => {
  const open = cluster(t, 1, directory(t), {
    reduce: (state = new Map(), action) =>
      action === null ? state : new Map(state).set(action, new Date(0)),
    snapshot: {
      entries: 10,
      serialize: state => [...state.keys()],
      deserialize: keys => new Map(keys.map(key => [key, new Date(0)]))
    }
  })
  const first = open('a')
  await Promise.all(Array.from({ length: 100 }, (_, i) => first.perform('append', [i])))
  await first.perform('append', ['last'])
  const state = first.getState()
  await first.close()
  const again = open('a')
  await again.ready()
  assert.ok(again.status().snapshotIndex > 0)
  assert.deepEqual(again.getState(), state)
})

test('a cluster that was closed goes on where it was, with the members that it had', async t => {
  const open = cluster(t, 3, directory(t))
  const ids = ['a', 'b', 'c']
  let nodes = ids.map(id => open(id))
  for (let round = 0; round < 3; round++) {
    const { followers } = await elected(nodes)
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => followers[0].perform('append', [round * 100 + i]))
    )
    await Promise.all(nodes.map(node => node.sync()))
    for (const node of nodes) assert.deepEqual(node.getState(), [...Array(100 * (round + 1)).keys()])
    const { members } = nodes[0].status()
    assert.deepEqual(
      members.map(({ id, voter }) => [id, voter]),
      ids.map(id => [id, true])
    )
    await Promise.all(nodes.map(node => node.close()))
    nodes = ids.map(id => open(id))
  }
})

test('what was acknowledged is there after a kill -9', async t => {
  const folder = directory(t)
  const storage = { path: path.join(folder, 'a') }
  const { code, stdout } = await runScript(`
    const node = conflux({ ...options, storage: ${JSON.stringify(storage)} })
    let count = 0
    const next = () => node.perform('append', [count]).then(() => {
      require('node:fs').writeSync(1, count + ' ')
      if (++count === 200) process.kill(process.pid, 'SIGKILL')
      return next()
    })
    next()
  `)
  assert.equal(code, 'SIGKILL')
  const acknowledged = stdout.trim().split(' ').map(Number)
  const node = cluster(t, 1, folder)('a')
  await node.ready()
  const state = node.getState()
  assert.deepEqual(state.slice(0, acknowledged.length), acknowledged)
  assert.ok(state.length <= acknowledged.length + 1)
})

test('a directory serves one node at a time, in this process and in any', async t => {
  const folder = directory(t)
  const first = cluster(t, 1, folder)('a')
  await first.perform('append', ['x'])

  const second = cluster(t, 1, folder)('a')
  const error = await failure(second)
  assert.equal(error.code, 'ERR_CONFLUX_STORAGE_IN_USE')
  assert.ok(error.message.includes(path.join(folder, 'a')), error.message)
  assert.throws(second.getState, { code: 'ERR_CONFLUX_NOT_READY' })
  assert.equal((await rejection(second.perform('append', ['y']))).code, error.code)

  const { stdout } = await runScript(`
    const node = conflux({ ...options, storage: { path: ${JSON.stringify(path.join(folder, 'a'))} } })
    node.on('error', error => console.log(error.code))
  `)
  assert.equal(stdout, 'ERR_CONFLUX_STORAGE_IN_USE\n')

  await first.perform('append', ['z'])
  await first.close()
  const next = cluster(t, 1, folder)('a')
  await next.ready()
  assert.deepEqual(next.getState(), ['x', 'z'])
})

test('a damaged file is reported with its path and what to do, and left as it is', async t => {
  const folder = directory(t)
  const first = cluster(t, 1, folder)('a')
  await Promise.all(Array.from({ length: 100 }, (_, i) => first.perform('append', [`thing ${i}`])))
  await first.close()
  const text = Buffer.from('thing 57')
  let damaged = 0
  for (const [file, bytes] of content(folder)) {
    for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
      bytes[at] ^= 1
      damaged++
    }
    fs.writeFileSync(file, bytes)
  }
  assert.ok(damaged > 0)

  const before = content(folder)
  const node = cluster(t, 1, folder)('a')
  const error = await failure(node)
  assert.equal(error.code, 'ERR_CONFLUX_STORAGE_DAMAGED')
  assert.ok(error.message.includes(path.join(folder, 'a')), error.message)
  assert.deepEqual(content(folder), before)
})

test('a directory that cannot be is reported', async t => {
  const folder = directory(t)
  fs.writeFileSync(path.join(folder, 'a'), 'a file')
  const error = await failure(cluster(t, 1, folder)('a'))
  assert.equal(error.code, 'ERR_CONFLUX_STORAGE')
  assert.ok(error.message.includes(path.join(folder, 'a')), error.message)
})

test('a directory, or a copy of one, is opened under the id that it belongs to', async t => {
  const folder = directory(t)
  const open = cluster(t, 1, folder)
  const first = open('a')
  await first.perform('append', ['x'])
  fs.cpSync(path.join(folder, 'a'), path.join(folder, 'z'), { recursive: true })
  const error = await failure(open('z'))
  assert.equal(error.code, 'ERR_CONFLUX_STORAGE')
  for (const named of ['`a`', '`z`', path.join(folder, 'z')])
    assert.ok(error.message.includes(named), error.message)

  await first.close()
  fs.renameSync(path.join(folder, 'a'), path.join(folder, 'elsewhere'))
  const moved = open('a', { path: path.join(folder, 'elsewhere') })
  await moved.ready()
  assert.deepEqual(moved.getState(), ['x'])
})

for (const isBusy of [true, false]) {
  test(`a directory deleted under a node that ${isBusy ? 'writes' : 'rests'} is an error`, async t => {
    const folder = directory(t)
    const node = cluster(t, 1, folder)('a')
    await node.perform('append', ['x'])
    const failed = failure(node)
    fs.rmSync(path.join(folder, 'a'), { recursive: true })
    if (isBusy) await assert.rejects(node.perform('append', ['lost']))
    const error = await failed
    assert.equal(error.code, 'ERR_CONFLUX_STORAGE')
    assert.ok(error.message.includes(path.join(folder, 'a')), error.message)
  })
}

test("a directory and its files are their user's alone", { skip: process.platform === 'win32' }, async t => {
  const folder = directory(t)
  await cluster(t, 1, folder)('a').perform('append', ['x'])
  const mode = name => (fs.statSync(path.join(folder, name)).mode & 0o777).toString(8)
  assert.equal(mode('a'), '700')
  for (const name of fs.readdirSync(path.join(folder, 'a'))) assert.equal(mode(path.join('a', name)), '600')
})

test('a node that left comes back as a new member', async t => {
  const open = cluster(t, 3, directory(t))
  const nodes = ['a', 'b', 'c'].map(id => open(id))
  const { leader, followers } = await elected(nodes)
  await leader.perform('append', ['x'])
  const [leaving] = followers
  const { id, incarnation } = leaving.status()
  await leaving.close({ leave: true })
  await leader.perform('append', ['y'])
  const again = open(id)
  await again.ready()
  await again.sync()
  assert.deepEqual(again.getState(), ['x', 'y'])
  assert.notEqual(again.status().incarnation, incarnation)
})
