/**
 * Shows that two applications which use one channel by mistake stay apart and report it, and that deploys of
 * one application never look like that.
 *
 * CONFLUX_DEPLOYS sets how many rolling deploys of each kind run (default 4).
 */
'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const path = require('node:path')
const test = require('node:test')

const { startRedisServer } = require('../scripts/redis-server')
const { elected, makeFolder, openNode, rejection, until } = require('./nodes')

const DEPLOYS = Number(process.env.CONFLUX_DEPLOYS ?? 4)

/** An application whose methods have these names, and append what they are given. */
const withMethods = (...names) => ({
  methods: Object.fromEntries(names.map(name => [name, thing => ({ thing })])),
  reduce: (things = [], action) => (action?.thing === undefined ? things : [...things, action.thing])
})

const shop = withMethods('order', 'cancel')
const chat = withMethods('say')

/** They are closed before their server is. */
const opened = new Set()

/** `open(id, options)` for the nodes of one channel, and a list of their warnings and errors. */
function channelOf(t, channel, given = {}) {
  const reports = []
  const open = (id, options) => {
    const node = openNode(t, { id, clusterSize: 3, channel, ...given, ...options })
    opened.add(node)
    node.on('warning', warning => reports.push({ ...warning, at: id }))
    node.on('error', error => reports.push({ at: id, code: error.code, message: error.message }))
    return node
  }
  return { open, reports }
}

const memory = () => ({ name: 'memory', channelName: `here-${randomUUID()}` })

async function redis(t) {
  const server = await startRedisServer()
  t.after(async () => {
    await Promise.all([...opened].map(node => node.close()))
    opened.clear()
    server.kill()
  })
  return { name: 'redis', connectionString: server.url, channelName: `here-${randomUUID()}` }
}

const failed = node => until('it fails', () => node.status().state === 'failed')

function assertNamesBoth({ code, message }, channelName, ...names) {
  assert.equal(code, 'ERR_CONFLUX_OTHER_APPLICATION')
  for (const name of [...names, channelName]) assert.ok(message.includes(`\`${name}\``), message)
}

for (const [name, channelFor] of Object.entries({ memory, Redis: redis })) {
  test(`over ${name}, a node that has no method in common with a cluster is refused`, async t => {
    const channel = await channelFor(t)
    const { open, reports } = channelOf(t, channel)
    const nodes = ['a', 'b', 'c'].map(id => open(id, shop))
    await Promise.all(nodes.map(node => node.ready()))
    await nodes[0].perform('order', ['book'])
    const stranger = open('z', chat)
    await failed(stranger)
    assertNamesBoth(stranger.status().failure, channel.channelName, 'say', 'order', 'cancel')
    const { leader } = await elected(nodes)
    await until('the leader is warned', () =>
      reports.some(({ at, code, who }) => {
        const isLeaders = at === leader.status().id && code === 'WARN_CONFLUX_OTHER_APPLICATION'
        return isLeaders && who === 'node `z`'
      })
    )
    await nodes[1].perform('cancel', ['book'])
    await nodes[2].sync()
    assert.deepEqual(nodes[2].getState(), ['book', 'book'])
    assert.deepEqual(
      nodes[2].status().members.map(({ id }) => id),
      ['a', 'b', 'c']
    )
  })

  test(`over ${name}, a node with another option is refused, whatever its methods and its id`, async t => {
    const channel = await channelFor(t)
    const { open } = channelOf(t, channel)
    const nodes = ['a', 'b', 'c'].map(id => open(id, { ...shop, application: 'shop' }))
    await Promise.all(nodes.map(node => node.ready()))
    for (const [id, methods] of [
      ['z', shop],
      ['a', shop],
      ['y', withMethods()]
    ]) {
      const stranger = open(id, { ...methods, application: 'billing' })
      await failed(stranger)
      assertNamesBoth(stranger.status().failure, channel.channelName, 'shop', 'billing')
    }
    await nodes[0].perform('order', ['book'])
  })

  test(`over ${name}, nodes of two applications do not found a cluster together, and warn`, async t => {
    const channel = await channelFor(t)
    const { open, reports } = channelOf(t, channel)
    const shops = ['a', 'b'].map(id => open(id, shop))
    const chats = ['y', 'z'].map(id => open(id, chat))
    for (const node of [...shops, ...chats]) {
      const { id } = node.status()
      await until('it is warned', () =>
        reports.some(one => one.at === id && one.code === 'WARN_CONFLUX_OTHER_APPLICATION')
      )
    }
    assert.ok([...shops, ...chats].every(node => node.status().cluster === null))
    const nodes = [...shops, open('c', shop)]
    await Promise.all(nodes.map(node => node.ready()))
    await Promise.all(chats.map(failed))
    await nodes[0].perform('order', ['book'])
    assert.ok(nodes.every(node => node.status().members.length === 3))
  })

  test(`over ${name}, as many of two applications at once end up in no cluster with each other`, async t => {
    const channel = await channelFor(t)
    const { open, reports } = channelOf(t, channel)
    const ids = ['a', 'b', 'c']
    // The same ids on both sides: they stand for different nodes.
    const sides = [shop, chat].map(application => ids.map(id => open(id, application)))
    await until('each is in a cluster of its own, or refused', () => {
      const isSettled = node => node.status().state === 'failed' || node.status().leader !== null
      return sides.flat().every(isSettled) && reports.length > 0
    })
    for (const nodes of sides) {
      const living = nodes.filter(node => node.status().state === 'open')
      assert.ok(living.length === 0 || living.length === 3)
    }
    const [shops, chats] = sides.map(
      nodes => new Set(nodes.map(node => node.status().cluster).filter(Boolean))
    )
    assert.ok([...shops].every(cluster => !chats.has(cluster)))
    assert.ok(reports.some(({ code }) => code.includes('OTHER_APPLICATION')))
  })

  test(`over ${name}, the option may be deployed for the first time, and nodes without methods join`, async t => {
    const channel = await channelFor(t)
    const { open, reports } = channelOf(t, channel)
    let nodes = ['a', 'b', 'c'].map(id => open(id, shop))
    await Promise.all(nodes.map(node => node.ready()))
    for (const id of ['d', 'e', 'f']) {
      const node = open(id, { ...shop, application: 'shop' })
      await node.ready()
      await nodes[0].close()
      nodes = [...nodes.slice(1), node]
    }
    const observer = open('o', withMethods())
    await observer.ready()
    await observer.perform('order', ['book'])
    assert.deepEqual(observer.getState(), ['book'])
    assert.deepEqual(
      reports.filter(({ code }) => code.includes('OTHER')),
      []
    )
  })

  test(`over ${name}, rolling deploys of fresh processes change all methods and lose nothing`, async t => {
    const { open, reports } = channelOf(t, await channelFor(t))
    const things = []
    let nodes = ['a', 'b', 'c'].map(id => open(id, { ...withMethods('m0', 'm1'), version: '0' }))
    for (let deploy = 0; deploy <= DEPLOYS; deploy++) {
      await Promise.all(nodes.map(node => node.ready()))
      const application = withMethods(`m${deploy}`, `m${deploy + 1}`)
      for (let i = 0; i < 3 && deploy > 0; i++) {
        const node = open(`node-${deploy}-${i}`, { ...application, version: String(deploy) })
        await node.ready()
        const thing = `${deploy}-${i}`
        things.push(thing)
        await node.perform(`m${deploy}`, [thing])
        await nodes[0].close()
        nodes = [...nodes.slice(1), node]
      }
    }
    await nodes[0].sync()
    assert.deepEqual(nodes[0].getState(), things)
    assert.deepEqual(
      reports.filter(({ code }) => code.includes('OTHER')),
      []
    )
    t.diagnostic(`${DEPLOYS} deploys, ${things.length} actions, 0 lost`)
  })
}

/** A directory of this test's own, which goes when the nodes are closed. */
function directory(t) {
  const folder = makeFolder(t)
  return folder
}

/** Three durable nodes: `open(id, application)`. */
function durable(t) {
  const folder = directory(t)
  const { open, reports } = channelOf(t, memory())
  const openDurable = (id, application) =>
    open(id, { ...application, storage: { path: path.join(folder, id) } })
  return { open: openDurable, reports }
}

test('rolling restarts from disk change all methods and lose nothing', async t => {
  const { open, reports } = durable(t)
  const things = []
  const nodes = ['a', 'b', 'c'].map(id => open(id, { ...withMethods('m0', 'm1'), version: '0' }))
  for (let deploy = 1; deploy <= DEPLOYS; deploy++) {
    await Promise.all(nodes.map(node => node.ready()))
    for (const i of nodes.keys()) {
      const { id } = nodes[i].status()
      await nodes[i].close()
      nodes[i] = open(id, { ...withMethods(`m${deploy}`, `m${deploy + 1}`), version: String(deploy) })
      await nodes[i].ready()
      things.push(`${deploy}-${i}`)
      await nodes[i].perform(`m${deploy}`, [`${deploy}-${i}`])
    }
  }
  await nodes[0].sync()
  assert.deepEqual(nodes[0].getState(), things)
  assert.deepEqual(
    reports.filter(({ code }) => code.includes('OTHER')),
    []
  )
  await Promise.all(nodes.map(node => node.close()))
})

test('a node that comes back from its disk as another application is refused under any leader', async t => {
  const { open } = durable(t)
  const nodes = ['a', 'b', 'c'].map(id => open(id, shop))
  await Promise.all(nodes.map(node => node.ready()))
  for (const i of nodes.keys()) {
    const { id } = nodes[i].status()
    // Also one that led when it was closed.
    await nodes[i].transferLeadership(id)
    await nodes[i].close()
    const stranger = open(id, chat)
    await failed(stranger)
    const { code, message } = stranger.status().failure
    assert.equal(code, 'ERR_CONFLUX_OTHER_APPLICATION')
    assert.ok(message.includes('`say`') && message.includes('`order`'), message)
    await stranger.close()
    nodes[i] = open(id, shop)
    await nodes[i].ready()
    await nodes[i].perform('order', [id])
  }
  await nodes[0].sync()
  assert.deepEqual(nodes[0].getState(), ['a', 'b', 'c'])
  await Promise.all(nodes.map(node => node.close()))
})

test('other methods without another version are warned about once, with what is missing on which side', async t => {
  const { open, reports } = channelOf(t, memory())
  const nodes = ['a', 'b', 'c'].map(id => open(id, shop))
  await Promise.all(nodes.map(node => node.ready()))
  const { leader } = await elected(nodes)
  const newer = open('d', withMethods('order', 'refund'))
  await newer.ready()
  const others = () => reports.filter(({ code }) => code === 'WARN_CONFLUX_OTHER_METHODS')
  await until('both sides report it', () => others().length >= 2)
  const byLeader = others().find(({ id }) => id === 'd')
  assert.deepEqual([byLeader.ours, byLeader.theirs], ['`cancel`', '`refund`'])
  const next = nodes.find(node => node !== leader)
  await next.transferLeadership(next.status().id)
  await next.transferLeadership(leader.status().id)
  await next.sync()
  const texts = others().map(({ at, message }) => `${at}: ${message}`)
  assert.equal(new Set(texts).size, texts.length, texts.join('\n'))
  const silent = open('e', { ...withMethods('order', 'repay'), version: '2' })
  await silent.ready()
  assert.ok(others().every(({ message }) => !message.includes('repay')))
})

test('names of methods of any kind and number are fine', async t => {
  const channel = memory()
  const { open } = channelOf(t, channel)
  const many = Array.from({ length: 3000 }, (_, i) => `method-${i}-${'\ud800é'.repeat(50)}`)
  const nodes = [open('a', shop), open('b', shop), open('c', withMethods('order', ...many))]
  await Promise.all(nodes.map(node => node.ready()))
  await nodes[0].perform('order', ['book'])
})

test('the option is a string of 1 to 256 bytes', async t => {
  const { open } = channelOf(t, memory())
  for (const application of ['', 7, 'é'.repeat(129), '\ud800', {}]) {
    assert.throws(() => open('a', { ...shop, application }), { code: 'ERR_CONFLUX_INVALID_OPTIONS' })
  }
  const node = open('a', { ...shop, application: 'é'.repeat(128), clusterSize: 1 })
  await node.ready()
  const error = await rejection(node.perform('say', []))
  assert.equal(error.code, 'ERR_CONFLUX_UNKNOWN_METHOD')
})
