// Shows the option `voter: false`: such a node founds nothing, never votes, and does everything else.

'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { elected, list, openNode, until } = require('./nodes')

function opener(t, clusterSize) {
  const channel = { name: 'memory', channelName: randomUUID() }
  return (id, voter) => openNode(t, { id, clusterSize, channel, voter, ...list })
}

const votersOf = node => {
  const { members } = node.status()
  return members.filter(member => member.voter).map(member => member.id)
}

test('it founds no cluster, joins one that others found, and does not take the place of a lost voter', async t => {
  const open = opener(t, 2)
  const guest = open('guest', false)
  const first = open('a', true)
  await until(
    'the guest to say what is missing',
    () => guest.status().waitingFor === 'waiting for 2 nodes, heard 1: a'
  )
  assert.equal(first.status().waitingFor, 'waiting for 2 nodes, heard 1: a')
  const second = open('b')
  await Promise.all([guest, first, second].map(node => node.ready()))
  await elected([guest, first, second])
  assert.equal(await guest.perform('append', ['x']), 'x')
  await until('all members', () => guest.status().members.length === 3)
  const mayVote = guest.status().members.map(member => [member.id, member.voter, member.mayVote])
  assert.deepEqual(mayVote, [
    ['a', true, true],
    ['b', true, true],
    ['guest', false, false]
  ])
  // It gives its vote to no other: there is no spare.
  await second.close()
  assert.deepEqual(votersOf(first), ['a'])
  const spare = open('c')
  await spare.ready()
  await until('the spare to vote', () => votersOf(first).join() === 'a,c')
  await guest.sync()
  assert.deepEqual(guest.getState(), ['x'])
  assert.deepEqual(votersOf(guest), ['a', 'c'])
})

test('alone it waits, also in a cluster of one', async t => {
  const open = opener(t, 1)
  const guest = open('guest', false)
  const called = guest.perform('append', ['x'])
  await until('it to wait', () => guest.status().waitingFor === 'waiting for 1 nodes, heard 0: ')
  assert.equal(guest.status().cluster, null)
  open('a')
  assert.equal(await called, 'x')
  assert.deepEqual(votersOf(guest), ['a'])
})

test('if all voters are lost, it can recover the cluster, and gives its vote to those that come', async t => {
  const open = opener(t, 2)
  const [a, b, guest] = [open('a'), open('b'), open('guest', false)]
  await Promise.all([a, b, guest].map(node => node.ready()))
  await guest.perform('append', ['kept'])
  await Promise.all([a, b].map(node => node.close({ leave: false, timeout: 0 })))
  await until('the loss to be noticed', () => guest.status().quorum.lost)
  await assert.rejects(guest.perform('append', ['x'], 200), { code: 'ERR_CONFLUX_TIMEOUT' })
  await guest.recover({ iUnderstandThatActionsMayBeLost: true })
  assert.deepEqual(guest.getState(), ['kept'])
  await guest.perform('append', ['served'])
  const others = [open('c'), open('d')]
  await Promise.all(others.map(node => node.ready()))
  await until('those that may vote to do so', () => votersOf(others[0]).join() === 'c,d')
  await others[1].perform('append', ['after'])
  await guest.sync()
  assert.deepEqual(guest.getState(), ['kept', 'served', 'after'])
})

test('another value than true and false is an option error', t => {
  for (const voter of ['no', 0, 1]) {
    assert.throws(() => opener(t, 1)('a', voter), /"voter"/)
  }
})

test('a node that restarts with the other value warns, keeps its place, and takes the value once it was removed', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-voter-'))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  const channel = { name: 'memory', channelName: randomUUID() }
  const warnings = []
  const open = (id, voter) => {
    const storage = { path: path.join(folder, id) }
    const node = openNode(t, { id, clusterSize: 2, channel, storage, voter, ...list })
    node.on('warning', ({ code, voter, admitted }) => {
      if (code === 'WARN_CONFLUX_VOTER_IGNORED') warnings.push({ id, voter, admitted })
    })
    return node
  }
  const first = ['a', 'b'].map(id => open(id, true))
  await Promise.all(first.map(node => node.ready()))
  const guest = open('guest', false)
  await guest.ready()
  // The same values again are no news.
  await guest.close()
  const same = open('guest', false)
  await same.ready()
  assert.deepEqual(warnings, [])
  await same.close()
  await first[1].close()

  const [b, promoted] = [open('b', false), open('guest', true)]
  await Promise.all([b, promoted].map(node => node.ready()))
  await until('the warnings', () => warnings.length === 2)
  assert.deepEqual(
    warnings.toSorted((one, other) => (one.id < other.id ? -1 : 1)),
    [
      { id: 'b', voter: false, admitted: true },
      { id: 'guest', voter: true, admitted: false }
    ]
  )
  assert.deepEqual(votersOf(first[0]), ['a', 'b'])

  for (const id of ['guest', 'b']) await first[0].remove(id)
  await until('the values to count', () => votersOf(first[0]).join() === 'a,guest')
  await until('all members', () => first[0].status().members.length === 3)
  const { mayVote } = first[0].status().members.find(({ id }) => id === 'b')
  assert.equal(mayVote, false)
  assert.equal(warnings.length, 2)
  await Promise.all([first[0], b, promoted].map(node => node.close()))
})
