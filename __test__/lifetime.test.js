// Shows that a node lives exactly as long as it should: processes exit, workers take their voters along, and
// nothing stays behind.

'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const { once } = require('node:events')
const path = require('node:path')
const test = require('node:test')
const { Worker } = require('node:worker_threads')

const { elected, list, openNode, runScript, until } = require('./nodes')

test('a process with an open node lives until close, then exits by itself within a second', async () => {
  const { code, stdout } = await runScript(`
    const node = conflux(options)
    let closedAt
    node.perform('append', ['x']).then(async () => {
      await node.close()
      closedAt = Date.now()
    })
    process.on('exit', () => console.log(Date.now() - closedAt < 1000))
  `)
  assert.deepEqual([code, stdout], [0, 'true\n'])
})

test('an open node keeps its process alive also when nothing happens', async () => {
  const { code, stdout } = await runScript(`
    const node = conflux({ ...options, clusterSize: 3 })
    node.on('warning', () => {})
    setTimeout(() => node.close(), 500).unref()
    process.on('exit', () => console.log(node.status().state))
  `)
  assert.deepEqual([code, stdout], [0, 'closed\n'])
})

test("an unref'd node lets its process exit, and its close is still finished", async () => {
  const { code, stdout } = await runScript(`
    conflux({ ...options, channel: { name: 'memory', channelName: 'other' } }).unref()
    const node = conflux(options).unref()
    node.close().then(() => console.log('closed'))
  `)
  assert.deepEqual([code, stdout], [0, 'closed\n'])
})

test('a process may end at any time, with calls in flight', async () => {
  const { code, stderr } = await runScript(`
    const node = conflux(options)
    node.ready().then(() => {
      for (let i = 0; i < 1000; i++) node.perform('append', [i])
      setImmediate(() => process.exit(0))
    })
  `)
  assert.deepEqual([code, stderr], [0, ''])
})

test('after close no handle is left that Jest would report with --detectOpenHandles', async () => {
  const { code, stdout, stderr } = await runScript(`
    const { createHook } = require('node:async_hooks')
    const open = new Map()
    createHook({
      init: (id, type, trigger, resource) => open.set(id, { type, resource: new WeakRef(resource) }),
      destroy: id => open.delete(id)
    }).enable()
    // As Jest counts them.
    const isHandle = ({ type, resource }) =>
      type !== 'PROMISE' && type !== 'RANDOMBYTESREQUEST' && resource.deref()?.hasRef?.() !== false
    const handles = () => [...open.values()].filter(isHandle).map(({ type }) => type)
    const turn = () => new Promise(resolve => setImmediate(resolve))
    ;(async () => {
      // This node never gets a second voter. Its timers end with it, too.
      const lone = conflux({ ...options, clusterSize: 2, channel: { name: 'memory', channelName: 'lone' } })
      const calls = [lone.perform('append', ['x'], 60_000), lone.ready({ timeout: 60_000 })].map(call => call.catch(() => {}))
      const node = conflux(options)
      node.subscribe(() => {})
      await node.ready()
      await node.perform('append', ['x'], 60_000)
      await node.sync({ timeout: 60_000 })
      const during = handles().length
      await node.close()
      await new Promise(resolve => lone.close(resolve))
      await Promise.all(calls)
      // What only waits for its collection counts as gone.
      require('node:v8').setFlagsFromString('--expose-gc')
      const collect = require('node:vm').runInNewContext('gc')
      for (let i = 0; i < 20; i++) await turn(collect())
      console.log(JSON.stringify({ during: during > 0, after: handles() }))
    })()
  `)
  assert.deepEqual([code, stderr], [0, ''])
  const { during, after } = JSON.parse(stdout)
  // This turn's own.
  assert.deepEqual({ during, after: after.filter(type => type !== 'Immediate') }, { during: true, after: [] })
})

for (const isBusy of [false, true]) {
  test(`a worker terminated while ${isBusy ? 'busy' : 'idle'} leaves no voter behind`, async t => {
    const { worker, nodes } = await leadingWorker(t)
    const count = isBusy ? 1000 : 0
    const performing = Promise.all(Array.from({ length: count }, (_, i) => nodes[0].perform('append', [i])))
    await worker.terminate()

    const { leader } = await elected(nodes)
    await performing
    const things = nodes[0].getState().filter(thing => thing !== 'ready')
    assert.deepEqual(things, [...Array(count).keys()])
    await until(
      'the worker to be silent',
      () => !leader.status().members.find(({ id }) => id === 'worker')?.active
    )
  })
}

/** Clusters of which one node runs in a worker, until that node leads one: the first leader is random. */
async function leadingWorker(t) {
  for (;;) {
    const options = { clusterSize: 3, channel: { name: 'memory', channelName: randomUUID() } }
    const worker = new Worker(path.join(__dirname, 'worker-node.js'), {
      workerData: { id: 'worker', ...options }
    })
    t.after(() => worker.terminate())
    const nodes = ['a', 'b'].map(id => openNode(t, { id, ...options, ...list }))
    // The worker may be ready before the nodes here are, and says so once.
    await Promise.all([once(worker, 'message'), ...nodes.map(node => node.ready())])
    if (nodes.every(node => node.status().leader === 'worker')) return { worker, nodes }
    await Promise.all(nodes.map(node => node.close()))
    await worker.terminate()
  }
}

test('workers come and go by the dozen', async () => {
  for (let i = 0; i < 30; i++) {
    const worker = new Worker(path.join(__dirname, 'worker-node.js'), {
      workerData: {
        id: 'worker',
        clusterSize: 1,
        channel: { name: 'memory', channelName: randomUUID() },
        isBusy: true
      }
    })
    await once(worker, 'message')
    await worker.terminate()
  }
})

test('200 nodes opened and closed leave no handle, thread or memory behind', async () => {
  const { code, stdout, stderr } = await runScript(`
    const fs = require('node:fs')
    const threads = () => process.platform === 'linux' ? fs.readdirSync('/proc/self/task').length : 0
    const files = () => process.platform === 'linux' ? fs.readdirSync('/proc/self/fd').length : 0
    async function round (count) {
      const nodes = Array.from({ length: count }, (_, i) =>
        conflux({ ...options, channel: { name: 'memory', channelName: 'c' + i } }))
      await Promise.all(nodes.map(node => node.perform('append', ['x'])))
      await Promise.all(nodes.map(node => node.close()))
    }
    const settled = async expected => {
      // What a node has put off until the event loop turns is no handle that it leaves behind.
      await new Promise(resolve => setImmediate(resolve))
      const end = Date.now() + 5000
      while ((threads() > expected.threads || files() > expected.files) && Date.now() < end) {
        await new Promise(resolve => setTimeout(resolve, 10))
      }
      return { threads: threads(), files: files(), resources: process.getActiveResourcesInfo().filter(name => name !== 'Timeout') }
    }
    ;(async () => {
      const expected = { threads: threads(), files: files() }
      await round(10)
      const before = await settled(expected)
      await round(200)
      const after = await settled(expected)
      console.log(JSON.stringify({ before, after, expected }))
    })()
  `)
  assert.deepEqual([code, stderr], [0, ''])
  const { before, after, expected } = JSON.parse(stdout)
  assert.deepEqual(after, before)
  assert.ok(after.threads <= expected.threads, `${after.threads} threads after, ${expected.threads} before`)
})
