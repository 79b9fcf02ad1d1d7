// Shows what a bug in the core amounts to: a panic ends its node with an error, and nothing else.
//
// The bug is one of the façade's, put in from outside: calls that are numbered with a gap, which the core asserts.
// `CONFLUX_PANICS=1000` is the long form.

'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const test = require('node:test')

const binding = require('../binding.js')
const { Node } = require('../lib/node')
const options = require('../lib/options')
const { elected, list, openCluster, rejection, until } = require('./nodes')

const PANICS = Number(process.env.CONFLUX_PANICS ?? 40)
const AT_ONCE = 20

/** A node, and what makes its core panic. */
function openFragile(given) {
  let native
  const open = (text, deliver) => (native = binding.open(text, deliver))
  const node = new Node(options.check({ ...list, ...given }), open).handle
  return { node, panic: () => [7000, 9000].forEach(first => native.perform(first, '["append",[]]', false)) }
}

async function assertFailed(node, pending, heard) {
  for (const error of await Promise.all(pending.map(rejection))) {
    assert.deepEqual([error.code, error.outcome], ['ERR_CONFLUX_PANIC', 'unknown'])
    assert.match(error.message, /^this node failed: the core failed: .*without a gap/s)
  }
  await until('the node to fail', () => node.status().state === 'failed')
  assert.equal(node.status().failure.code, 'ERR_CONFLUX_PANIC')
  await until('its event', () => heard.length === 1)
  assert.equal(heard[0].code, 'ERR_CONFLUX_PANIC')
  const late = await rejection(node.perform('append', ['late']))
  assert.deepEqual([late.code, late.outcome], ['ERR_CONFLUX_PANIC', 'not-applied'])
  assert.deepEqual(node.getState(), ['kept'], 'the state stays readable')
  await node.close()
}

test(`${PANICS} panics end their nodes with an error, the process and its other nodes live`, async t => {
  const [bystander] = openCluster(t, 1)
  await bystander.ready()
  for (let done = 0; done < PANICS; done += AT_ONCE) {
    const count = Math.min(AT_ONCE, PANICS - done)
    const one = async () => {
      const channel = { name: 'memory', channelName: randomUUID() }
      const { node, panic } = openFragile({ id: 'a', clusterSize: 1, channel })
      const heard = []
      node.on('error', error => heard.push(error))
      await node.perform('append', ['kept'])
      const pending = [node.perform('append', ['x']), node.perform('append', ['y'])]
      // Before they are handed over, at the end of this turn: what became of them is unknown then.
      panic()
      await assertFailed(node, pending, heard)
    }
    await Promise.all(Array.from({ length: count }, one))
    await bystander.perform('append', [done])
  }
})

test('a leader whose core panics is followed by another, and nothing acknowledged is lost', async t => {
  const channel = { name: 'memory', channelName: randomUUID() }
  const fragile = ['a', 'b', 'c'].map(id => openFragile({ id, clusterSize: 3, channel }))
  const nodes = fragile.map(({ node }) => node)
  for (const node of nodes) t.after(() => node.close())
  const { leader, followers } = await elected(nodes)
  const heard = []
  leader.on('error', error => heard.push(error))
  await leader.perform('append', ['kept'])
  fragile[nodes.indexOf(leader)].panic()
  await until('it fails', () => heard.length === 1)
  const other = await elected(followers)
  await other.followers[0].perform('append', ['after'])
  for (const node of followers) {
    await until('both actions', () => node.getState().length === 2)
    assert.deepEqual(node.getState(), ['kept', 'after'])
  }
})
