// Shows that a recovered cluster stays who it is over restarts, and that it wins over the one it came from.
//
// `CONFLUX_RECOVERIES=100 npm test -- recover` repeats each test so often, with a snapshot behind the recovery and
// without one in turn.

'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { list, openNode, until } = require('./nodes')

const RECOVERIES = Number(process.env.CONFLUX_RECOVERIES ?? 2)
const UNDERSTOOD = { iUnderstandThatActionsMayBeLost: true }

/** `open(id)` for the nodes of one cluster of three; what a node warns of is in `node.warnings`. */
function cluster(t, number, given = {}) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-'))
  const opened = new Set()
  t.after(async () => {
    await Promise.all([...opened].map(node => node.close({ timeout: 0 })))
    fs.rmSync(folder, { recursive: true, force: true })
  })
  const channel = { name: 'memory', channelName: randomUUID() }
  const timing = { electionTimeout: { min: 60, max: 100 }, heartbeatInterval: 20 }
  return (id, directory = id) => {
    const storage = { path: path.join(folder, directory) }
    const snapshot = { entries: number % 2 === 0 ? 20 : 100_000 }
    const node = openNode(t, { id, clusterSize: 3, channel, ...list, ...timing, snapshot, storage, ...given })
    opened.add(node)
    node.warnings = []
    node.on('warning', warning => node.warnings.push(warning))
    return node
  }
}

const has = (node, code) => node.warnings.some(warning => warning.code === code)
const stop = nodes => Promise.all(nodes.map(node => node.close({ leave: false, timeout: 0 })))

/** Three nodes of which `a` is left, and has recovered. */
async function recovered(open) {
  const [a, b, c] = ['a', 'b', 'c'].map(id => open(id))
  await Promise.all([a, b, c].map(node => node.ready()))
  await a.perform('append', ['before'])
  const former = a.status().cluster
  await stop([b, c])
  await until('the loss to be noticed', () => a.status().quorum.lost)
  await a.recover(UNDERSTOOD)
  assert.notEqual(a.status().cluster, former)
  return { a, former }
}

for (let number = 0; number < RECOVERIES; number++) {
  test(`a recovered cluster has its name after a restart of all (${number})`, async t => {
    const open = cluster(t, number)
    const { a } = await recovered(open)
    const name = a.status().cluster
    const b = open('b', 'b2')
    await b.ready()
    for (let i = 0; i < 60; i++) await a.perform('append', [i])
    await b.sync()
    await stop([a, b])

    const again = [open('a'), open('b', 'b2')]
    await Promise.all(again.map(node => node.ready()))
    await again[0].perform('append', ['after'])
    await again[1].sync()
    for (const node of again) {
      assert.equal(node.status().cluster, name)
      assert.equal(node.getState().length, 62)
    }
  })

  test(`a successor that comes back ends the cluster that went on without it (${number})`, async t => {
    const open = cluster(t, number)
    const { a, former } = await recovered(open)
    const name = a.status().cluster
    for (let i = 0; i < 60; i++) await a.perform('append', [i])
    await stop([a])

    const others = [open('b'), open('c')]
    await Promise.all(others.map(node => node.ready()))
    await others[0].perform('append', ['lost'])
    assert.equal(others[0].status().cluster, former)

    const survivor = open('a')
    await until('all to be one cluster', () =>
      [survivor, ...others].every(node => {
        const { cluster: uuid, leader } = node.status()
        return uuid === name && leader === 'a'
      })
    )
    await others[1].perform('append', ['after'])
    for (const node of [survivor, ...others]) {
      await node.sync()
      assert.deepEqual(node.getState().slice(-2), [59, 'after'])
      assert.equal(node.getState().length, 62)
    }
    for (const node of others) {
      const { ours, successor } = node.warnings.find(({ code }) => code === 'WARN_CONFLUX_SUPERSEDED')
      assert.deepEqual([ours, successor], [former, name])
    }
    assert.ok(has(survivor, 'WARN_CONFLUX_FORMER_CLUSTER'))
  })

  test(`two successors tell of each other, and one is left when the other is stopped (${number})`, async t => {
    const open = cluster(t, number)
    const { a } = await recovered(open)
    const name = a.status().cluster
    await a.perform('append', ['a'])
    await stop([a])
    const b = open('b')
    await until('the loss to be noticed', () => b.status().quorum.lost)
    await b.recover(UNDERSTOOD)
    await b.perform('append', ['b'])
    const again = open('a')
    await until('both to tell', () => [again, b].every(node => has(node, 'WARN_CONFLUX_TWO_SUCCESSORS')))

    await stop([b])
    const anew = open('b', 'empty')
    await anew.ready()
    assert.equal(anew.status().cluster, name)
    await anew.sync()
    assert.deepEqual(anew.getState(), ['before', 'a'])
  })
}
