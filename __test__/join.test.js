// Shows how nodes come to a cluster and go from it, and that callers on other nodes notice nothing.

'use strict'

const assert = require('node:assert/strict')
const { randomUUID } = require('node:crypto')
const test = require('node:test')

const { elected, list, openNode, rejection, until } = require('./nodes')

/** Short, so that a silent voter is dead after two seconds. */
const TIMES = { electionTimeout: { min: 100, max: 200 }, heartbeatInterval: 20 }

/** `open(id)` for the nodes of one cluster of three. */
function cluster(t, given = {}) {
  const channel = { name: 'memory', channelName: randomUUID() }
  return (id, own = {}) => openNode(t, { id, clusterSize: 3, channel, ...list, ...TIMES, ...given, ...own })
}

/** The ids of the voters, as this node knows them. */
const voters = node =>
  node
    .status()
    .members.filter(({ voter }) => voter)
    .map(({ id }) => id)

const isMember = (node, id) => node.status().members.some(member => member.id === id)

async function founded(open) {
  const nodes = ['a', 'b', 'c'].map(id => open(id))
  return { nodes, ...(await elected(nodes)) }
}

test('a fourth node joins, has the state, and makes calls like any other', async t => {
  const open = cluster(t, { snapshot: { entries: 100 } })
  const { nodes, leader } = await founded(open)
  await Promise.all(Array.from({ length: 1000 }, (_, i) => leader.perform('append', [i])))
  await until('a snapshot that cuts the log', () => leader.status().snapshotIndex > 0)

  const newcomer = open('d')
  let calls = 0
  newcomer.subscribe(() => calls++)
  await newcomer.ready()
  await newcomer.sync()
  assert.deepEqual(newcomer.getState(), leader.getState())
  assert.ok(calls >= 1 && calls < 1000, `its subscribers were called ${calls} times`)

  assert.equal(await newcomer.perform('append', ['x']), 'x')
  assert.equal(newcomer.getState().at(-1), 'x')
  await Promise.all(nodes.map(node => node.sync()))
  for (const node of nodes) assert.deepEqual(node.getState(), newcomer.getState())
  assert.deepEqual(voters(leader), ['a', 'b', 'c'])
  await until('the leader to know how far it is', () =>
    leader.status().members.every(({ matchedIndex }) => matchedIndex === leader.status().lastIndex)
  )
})

test('a newcomer takes the place of a voter that died', async t => {
  const open = cluster(t)
  const { leader, followers } = await founded(open)
  const [dead, other] = followers
  open('d')
  await until('the newcomer to be a member', () => isMember(leader, 'd'))
  // As a crash leaves it: the replica is kept, and its process does not return.
  await dead.close({ timeout: 0, leave: false })
  const expected = ['a', 'b', 'c', 'd'].filter(id => id !== dead.status().id)
  await until('the newcomer to vote', () => String(voters(other)) === String(expected))
  await leader.perform('append', ['x'])
})

test('a new start under the same id replaces the old one; two that live are refused', async t => {
  const open = cluster(t)
  const { leader, followers } = await founded(open)
  const [dead, alive] = followers
  const { id, incarnation } = dead.status()
  await dead.close({ timeout: 0, leave: false })
  const again = open(id)
  await again.ready()
  await until('the new start to be a member', () =>
    leader
      .status()
      .members.some(member => member.id === id && member.voter && member.incarnation !== incarnation)
  )

  const twin = open(alive.status().id)
  const error = await new Promise(resolve => twin.on('error', resolve))
  assert.equal(error.code, 'ERR_CONFLUX_DUPLICATE_ID')
  assert.equal(await alive.perform('append', ['x']), 'x')
})

test('close gives its vote to a spare, and the leader transfers leadership before', async t => {
  const open = cluster(t)
  const { leader, followers } = await founded(open)
  const spare = open('d')
  await spare.ready()
  await until('the spare to be a member', () => isMember(leader, 'd'))
  const id = leader.status().id
  const performing = Promise.all(Array.from({ length: 200 }, (_, i) => followers[0].perform('append', [i])))
  await leader.close()
  await performing
  await until('the spare to vote', () => voters(followers[0]).includes('d'))
  // For a moment both do: the change is a joint one.
  await until('who left to vote no more', () => !voters(followers[0]).includes(id))
  await spare.sync()
  assert.deepEqual(spare.getState(), [...Array(200).keys()])
})

test('without a spare voters shrink, and grow back', async t => {
  const open = cluster(t)
  const { followers } = await founded(open)
  const [leaving, staying] = followers
  await leaving.close()
  await until('two voters', () => voters(staying).length === 2)
  await staying.perform('append', ['two'])
  await open('d').ready()
  await until('three voters', () => voters(staying).length === 3)
})

test('a rolling restart under fresh ids loses nothing, and fails no call made elsewhere', async t => {
  const open = cluster(t)
  let { nodes } = await founded(open)
  const performer = open('performer')
  await performer.ready()
  const performing = []
  for (let i = 0; i < 6; i++) {
    for (let j = 0; j < 50; j++) performing.push(performer.perform('append', [performing.length]))
    const [oldest, ...rest] = nodes
    const fresh = open(`fresh-${i}`)
    await fresh.ready()
    await oldest.close()
    nodes = [...rest, fresh]
  }
  await Promise.all(performing)
  await Promise.all(nodes.map(node => node.sync()))
  for (const node of nodes) assert.deepEqual(node.getState(), [...performing.keys()])
})

test('sync makes what was acknowledged elsewhere readable here', async t => {
  const open = cluster(t)
  const { leader, followers } = await founded(open)
  for (let i = 0; i < 100; i++) {
    await leader.perform('append', [i])
    await followers[i % 2].sync()
    assert.equal(followers[i % 2].getState().length, i + 1)
  }
})

test('sync without a quorum ends when its time is over', async t => {
  const open = cluster(t)
  const { leader, followers } = await founded(open)
  await Promise.all(followers.map(node => node.close({ timeout: 0, leave: false })))
  const error = await rejection(leader.sync({ timeout: 300 }))
  assert.equal(error.code, 'ERR_CONFLUX_NO_QUORUM')
  await until('the loss to be seen', () => leader.status().quorum.lost)
  assert.deepEqual(
    leader.status().quorum.missing.map(({ id }) => id),
    followers.map(node => node.status().id).sort()
  )
  assert.deepEqual(leader.getState(), [])
})

test('leadership goes to the member that is named', async t => {
  const open = cluster(t)
  const { leader, followers } = await founded(open)
  const [target, other] = followers
  const { id } = target.status()
  await other.transferLeadership(id)
  assert.equal(other.status().leader, id)
  await until('it to know', () => target.status().role === 'leader')
  await other.transferLeadership(id)

  await leader.transferLeadership()
  assert.notEqual(leader.status().leader, id)
  assert.equal((await rejection(leader.transferLeadership('nobody'))).code, 'ERR_CONFLUX_UNKNOWN_MEMBER')
  await open('d').ready()
  await until('the learner to be a member', () => isMember(leader, 'd'))
  assert.equal((await rejection(leader.transferLeadership('d'))).code, 'ERR_CONFLUX_NOT_A_VOTER')
})

test('a removed member starts over as a new one, and says so', async t => {
  const open = cluster(t)
  const { leader, followers } = await founded(open)
  const [removed, other] = followers
  const { id, incarnation } = removed.status()
  const warned = new Promise(resolve =>
    removed.on('warning', ({ code }) => code === 'WARN_CONFLUX_STARTING_OVER' && resolve())
  )
  await other.remove(id)
  assert.ok(other.status().members.every(member => member.incarnation !== incarnation))
  await warned
  await until('it to be back', () => isMember(leader, id))
  assert.notEqual(removed.status().incarnation, incarnation)
  await removed.perform('append', ['back'])
  assert.equal((await rejection(other.remove('nobody'))).code, 'ERR_CONFLUX_UNKNOWN_MEMBER')
})

test('the last voter cannot be removed', async t => {
  const node = cluster(t)('a', { clusterSize: 1 })
  await node.ready()
  assert.equal((await rejection(node.remove('a'))).code, 'ERR_CONFLUX_LAST_VOTER')
})

test('a cluster grows and shrinks by resize', async t => {
  const open = cluster(t)
  const { nodes, leader } = await founded(open)
  const spares = [open('d'), open('e')]
  await Promise.all(spares.map(node => node.ready()))
  await until('both to be members', () => isMember(leader, 'd') && isMember(leader, 'e'))

  await spares[0].resize(5)
  assert.equal(spares[0].status().clusterSize, 5)
  await until('five voters', () => voters(leader).length === 5)
  await spares[1].perform('append', ['five'])

  await nodes[0].resize(3)
  await until('three voters', () => voters(nodes[0]).length === 3)
  await spares[1].perform('append', ['three'])
  assert.equal(spares[1].status().clusterSize, 3)
})

test('a cluster of which all have ended is founded anew by the next', async t => {
  const open = cluster(t)
  const { nodes, leader } = await founded(open)
  await leader.perform('append', ['gone'])
  await Promise.all(nodes.map(node => node.close()))
  const { leader: next } = await founded(open)
  assert.deepEqual(next.getState(), [])
  await next.perform('append', ['new'])
})

test('when most voters are gone for good, the rest recovers by command', async t => {
  const open = cluster(t)
  const { leader, followers } = await founded(open)
  await leader.perform('append', ['kept'])
  const [survivor] = followers
  await survivor.sync()
  const error = await rejection(survivor.recover({ iUnderstandThatActionsMayBeLost: true, timeout: 1000 }))
  assert.equal(error.code, 'ERR_CONFLUX_QUORUM_NOT_LOST')

  const warnings = []
  survivor.on('warning', ({ code }) => warnings.push(code))
  await Promise.all([leader, followers[1]].map(node => node.close({ timeout: 0, leave: false })))
  await until('the loss to be reported', () => warnings.includes('WARN_CONFLUX_QUORUM_LOST'))
  assert.equal(survivor.status().quorum.lost, true)
  await survivor.recover({ iUnderstandThatActionsMayBeLost: true })
  assert.deepEqual(survivor.getState(), ['kept'])
  await survivor.perform('append', ['on'])
  assert.deepEqual(survivor.getState(), ['kept', 'on'])
  await until('the recovery to be reported', () => warnings.includes('WARN_CONFLUX_RECOVERED'))
})

test('by option the rest recovers by itself', async t => {
  const open = cluster(t, { quorumLoss: { recoverAfter: 2000 } })
  const { leader, followers } = await founded(open)
  await leader.perform('append', ['kept'])
  const [survivor] = followers
  await survivor.sync()
  await Promise.all([leader, followers[1]].map(node => node.close({ timeout: 0, leave: false })))
  await survivor.perform('append', ['on'])
  assert.deepEqual(survivor.getState(), ['kept', 'on'])
})
