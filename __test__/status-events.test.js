// Shows how a node is watched: status, events, readiness.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { elected, openCluster, openOne, rejection, runScript, until } = require('./nodes')

test('the status is a plain object that describes the node', async t => {
  const nodes = openCluster(t, 3)
  const { leader, followers } = await elected(nodes)
  await followers[0].perform('append', ['x'])
  await until('all to be active', () => leader.status().members.every(member => member.active))

  const status = leader.status()
  assert.deepEqual(Object.keys(status), [
    'id',
    'incarnation',
    'state',
    'failure',
    'diverged',
    'cluster',
    'clusterSize',
    'role',
    'leader',
    'term',
    'commitIndex',
    'appliedIndex',
    'lastIndex',
    'snapshotIndex',
    'quorum',
    'faultTolerance',
    'members',
    'session',
    'sessions',
    'pending',
    'waitingFor',
    'caughtUp',
    'hibernating',
    'timers',
    'droppedFrames'
  ])
  assert.deepEqual(JSON.parse(JSON.stringify(status)), status)
  assert.deepEqual(
    [status.state, status.failure, status.role, status.waitingFor],
    ['open', null, 'leader', null]
  )
  assert.ok(status.term > 0)
  assert.ok(status.appliedIndex <= status.commitIndex && status.commitIndex <= status.lastIndex)
  assert.deepEqual(
    status.members.map(({ id, voter, active }) => ({ id, voter, active })),
    ['a', 'b', 'c'].map(id => ({ id, voter: true, active: true }))
  )
  assert.deepEqual(
    [status.diverged, status.clusterSize, status.snapshotIndex, status.quorum],
    [null, 3, 0, { lost: false, missing: [] }]
  )
  for (const member of status.members) {
    assert.deepEqual(Object.keys(member), [
      'id',
      'incarnation',
      'voter',
      'mayVote',
      'active',
      'version',
      'matchedIndex',
      'keyId'
    ])
  }
  for (const follower of followers) {
    const { cluster, leader, term, role, members } = follower.status()
    assert.deepEqual(
      { cluster, leader, term },
      { cluster: status.cluster, leader: status.id, term: status.term }
    )
    assert.equal(role, 'follower')
    assert.deepEqual(
      members.map(member => member.incarnation),
      status.members.map(member => member.incarnation)
    )
  }
})

test('a node alone says what it waits for', async t => {
  const [node] = openCluster(t, 1, { clusterSize: 3 })
  const warning = await new Promise(resolve => node.on('warning', resolve))
  assert.deepEqual(warning, {
    code: 'WARN_CONFLUX_WAITING_FOR_NODES',
    message: 'waiting for 3 nodes, heard 1: a',
    clusterSize: 3,
    heard: ['a']
  })
  const { cluster, leader, members, waitingFor } = node.status()
  assert.deepEqual({ cluster, leader, members }, { cluster: null, leader: null, members: [] })
  assert.match(waitingFor, /3 nodes/)
  assert.equal(node.perform('append', ['x']).catch(() => {}) instanceof Promise, true)
  assert.equal(node.status().pending, 1)
})

test('without a listener the first warning of a kind goes where Node warnings go', async () => {
  const { stderr, code } = await runScript(`
    const node = conflux({ ...options, clusterSize: 3 })
    process.on('warning', ({ name, code, message }) => {
      console.log(name, code, message)
      node.close()
    })
  `)
  assert.match(
    stderr,
    /\[WARN_CONFLUX_WAITING_FOR_NODES\] ConfluxWarning: conflux node "a": waiting for 3 nodes, heard 1: a/
  )
  assert.equal(code, 0)
})

test('ready waits for a leader, and says what is missing when its time is over', async t => {
  const node = openOne(t)
  assert.equal(await node.ready(), undefined)
  assert.equal(node.status().role, 'leader')
  await node.ready({ timeout: 0 })

  const [alone] = openCluster(t, 1, { clusterSize: 2 })
  await new Promise(resolve => alone.once('warning', resolve))
  const error = await rejection(alone.ready({ timeout: 1 }))
  assert.equal(error.code, 'ERR_CONFLUX_TIMEOUT')
  assert.match(error.message, /^this node is not ready after 1 ms: .*2 nodes/)
  assert.equal(error.message.endsWith(error.waitingFor), true)
  for (const timeout of [NaN, -1, '1', Infinity]) {
    assert.equal((await rejection(alone.ready({ timeout }))).code, 'ERR_CONFLUX_INVALID_ARGUMENT')
  }
})

test('events tell role and leader, and the end', async t => {
  const nodes = openCluster(t, 3)
  const events = nodes.map(() => [])
  nodes.forEach((node, i) => {
    for (const event of ['role', 'leader', 'close']) node.on(event, value => events[i].push([event, value]))
  })
  const { leader, followers } = await elected(nodes)
  const id = leader.status().id
  await until('every node to have reported its leader', () =>
    events.every(list => list.some(([event, value]) => event === 'leader' && value === id))
  )
  const ofLeader = events[nodes.indexOf(leader)]
  assert.ok(ofLeader.some(([event, value]) => event === 'role' && value === 'leader'))

  await leader.close()
  assert.deepEqual(ofLeader.at(-1), ['close', undefined])
  const second = await elected(followers)
  assert.notEqual(second.leader.status().id, id)
})

test('an event that is listened to once comes once, and one that is not any more does not come', async t => {
  const node = openOne(t)
  const calls = []
  const off = () => calls.push('off')
  node.on('leader', off).off('leader', off)
  node.once('leader', id => calls.push(id))
  await node.ready()
  assert.deepEqual(calls, ['a'])
  assert.throws(() => node.on('leader', 'x'), { name: 'TypeError' })
})

test('what a listener of an event throws is an uncaught exception; the node goes on', async () => {
  const { code, stdout } = await runScript(`
    const node = conflux(options)
    process.on('uncaughtException', error => console.log('uncaught', error.message))
    node.on('leader', () => { throw new Error('in the listener') })
    node.perform('append', ['x']).then(action => {
      console.log(action)
      return node.close()
    })
  `)
  assert.equal(stdout, 'uncaught in the listener\nx\n')
  assert.equal(code, 0)
})
