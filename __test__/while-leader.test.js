// Shows what `whileLeader` promises: one run per leadership, on the leader, after everything that was committed before, with
// a token that rises.

'use strict'

const assert = require('node:assert/strict')
const { once } = require('node:events')
const test = require('node:test')

const { elected, list, openCluster, openOne, rejection, runScript, until } = require('./nodes')

/** Notes the runs of all nodes, in the order of their beginnings. */
function follow(nodes, run = untilAborted) {
  const runs = []
  const stops = nodes.map(node =>
    node.whileLeader(async ({ signal, token }) => {
      const seen = { id: node.status().id, token, signal, state: node.getState(), hasEnded: false }
      runs.push(seen)
      try {
        await run(signal)
      } finally {
        seen.hasEnded = true
      }
    })
  )
  return { runs, stops }
}

const untilAborted = signal => (signal.aborted ? undefined : once(signal, 'abort'))

test('the leader runs it, after it has applied everything that was committed', async t => {
  const nodes = openCluster(t, 3)
  const { leader } = await elected(nodes)
  for (let i = 0; i < 20; i++) await nodes[0].perform('append', [i])
  const { runs } = follow(nodes)
  await until('a run', () => runs.length === 1)
  assert.equal(runs[0].id, leader.status().id)
  assert.deepEqual(runs[0].state, [...Array(20).keys()])
  assert.ok(Number.isSafeInteger(runs[0].token))
})

test('when leadership moves, the signal is aborted and the next run has a higher token', async t => {
  const nodes = openCluster(t, 3)
  await elected(nodes)
  const { runs } = follow(nodes)
  await until('a run', () => runs.length === 1)
  for (let moves = 1; moves <= 5; moves++) {
    const { leader, followers } = await elected(nodes)
    await nodes[0].perform('append', [moves])
    await leader.transferLeadership(followers[0].status().id)
    await until('the next run', () => runs.length === moves + 1)
    const [former, present] = runs.slice(-2)
    assert.ok(former.signal.aborted && former.signal.reason.name === 'AbortError')
    assert.ok(present.token > former.token, `${present.token} after ${former.token}`)
    assert.equal(present.state.at(-1), moves)
  }
})

test('on one node, a run begins when the former one has ended', async t => {
  const nodes = openCluster(t, 3)
  const { leader, followers } = await elected(nodes)
  let running = 0
  let runs = 0
  let release
  const isReleased = new Promise(resolve => (release = resolve))
  leader.whileLeader(async ({ signal }) => {
    assert.equal(++running, 1)
    runs++
    await untilAborted(signal)
    await isReleased
    running--
  })
  await until('a run', () => runs === 1)
  const { id } = leader.status()
  await leader.transferLeadership(followers[0].status().id)
  await until('another leader', () => leader.status().role === 'follower')
  const other = (await elected(nodes)).leader
  await other.transferLeadership(id)
  await until('it leads again', () => leader.status().role === 'leader')
  await leader.sync()
  assert.equal(runs, 1, 'the former run goes on')
  release()
  await until('the next run', () => runs === 2)
})

test('a run that returns is not repeated in the same leadership', async t => {
  const node = openOne(t)
  let runs = 0
  node.whileLeader(() => void runs++)
  await until('a run', () => runs === 1)
  await node.perform('append', ['x'])
  await node.sync()
  assert.equal(runs, 1)
})

test('stop() aborts the signal and resolves when the run has ended', async t => {
  const node = openOne(t)
  const { runs, stops } = follow([node])
  await until('a run', () => runs.length === 1)
  const ended = stops[0]()
  assert.ok(runs[0].signal.aborted)
  await ended
  assert.ok(runs[0].hasEnded)
  await stops[0]()
})

test('stop() before the run begins prevents it', async t => {
  const nodes = openCluster(t, 3)
  const { runs, stops } = follow(nodes)
  await Promise.all(stops.map(stop => stop()))
  await elected(nodes)
  await nodes[0].perform('append', ['x'])
  assert.deepEqual(runs, [])
})

test('close() aborts the signal', async t => {
  const node = openOne(t)
  const { runs } = follow([node])
  await until('a run', () => runs.length === 1)
  const closed = node.close()
  await until('the abort', () => runs[0].signal.aborted)
  await closed
  assert.throws(() => node.whileLeader(() => {}), { code: 'ERR_CONFLUX_CLOSED' })
})

test('what a run throws is an uncaught exception, except for the abort', async () => {
  const { code, stderr } = await runScript(`
    const node = conflux(options)
    node.whileLeader(async ({ signal }) => {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
    let isFirst = true
    process.on('uncaughtException', error => {
      console.error('caught', error.message)
      node.close()
    })
    node.whileLeader(() => { throw new Error('of the run') })
  `)
  assert.equal(code, 0, stderr)
  assert.deepEqual(stderr.match(/caught .*/g), ['caught of the run'])
})

test('what is no function is an error', t => {
  const node = openOne(t, list)
  assert.throws(() => node.whileLeader('work'), { code: 'ERR_CONFLUX_INVALID_ARGUMENT', name: 'TypeError' })
})
