/**
 * Runs jobs of node-cron once in a fleet: the published package asks the recipe whether it may.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const cron = require('node-cron')

const { cluster } = require('../testing')
const { compose, jobs } = require('../recipes')
const { until } = require('./nodes')
const { RecipeModel } = require('./recipe-model')

async function open(t) {
  const c = await cluster(3, compose({ jobs: jobs() }))
  t.after(() => c.close())
  return { c, clients: c.nodes.map(node => jobs.client(node, 'jobs')) }
}

test('of three processes with the same task of node-cron, one runs it each time', async t => {
  const { c, clients } = await open(t)
  const runs = []
  const skipped = []
  const tasks = clients.map((runCoordinator, i) => {
    const options = { name: 'every second', distributed: true, runCoordinator }
    const task = cron.schedule('* * * * * *', ({ date }) => runs.push(date.toISOString()), options)
    task.on('execution:skipped', ({ date, reason }) => skipped.push([date.toISOString(), reason]))
    return task
  })
  t.after(() => tasks.forEach(task => task.destroy()))
  // node-cron leaves a time out where its process is late.
  await until('three runs, and refusals of the others', () => runs.length >= 3 && skipped.length >= 4)
  await Promise.all(tasks.map(task => task.stop()))
  assert.equal(new Set(runs).size, runs.length, 'a run happened twice')
  assert.deepEqual([...new Set(skipped.map(([, reason]) => reason))], ['not-elected'])
  await until('the end of the last run', () => clients[0].list()[0].completedAt !== null)
  await c.settled()
  const [{ job, slot }] = clients[1].list()
  assert.deepEqual([job, slot], ['every second', runs.at(-1)])
})

test('a run is given to one process, however late the others ask', () => {
  const model = new RecipeModel(jobs())
  const claim = run => model.call('claim', run, 1000, 'a') !== undefined
  assert.equal(claim('backup:2026-01-01T03:00:00.000Z'), true)
  assert.equal(claim('backup:2026-01-01T03:00:00.000Z'), false)
  assert.equal(claim('report:2026-01-01T03:00:00.000Z'), true)
  model.wait(100_000)
  assert.equal(claim('backup:2026-01-01T03:00:00.000Z'), false, 'long after its ttl')
  assert.equal(claim('backup:2026-01-02T03:00:00.000Z'), true)
  assert.equal(claim('backup:2026-01-01T03:00:00.000Z'), false, 'a process whose clock is a day late')
  assert.equal(
    Object.values(model.state.jobs).flatMap(Object.keys).length,
    2,
    'the state keeps the latest runs only'
  )
})

test('a run without a time may happen again after its ttl', () => {
  const model = new RecipeModel(jobs())
  assert.equal(model.call('claim', 'migrate', 1000, 'a').type, 'CLAIMED')
  assert.equal(model.call('claim', 'migrate', 1000, 'a'), undefined)
  model.wait(1000)
  assert.equal(model.call('claim', 'migrate', 1000, 'a').type, 'CLAIMED')
})

test('runOnce calls one function of many, and gives its result or its error', async t => {
  const { clients } = await open(t)
  let count = 0
  const outcomes = await Promise.all(
    Array.from({ length: 30 }, (_, i) => clients[i % 3].runOnce('seed', async () => ++count))
  )
  assert.equal(count, 1)
  const [ran, ...others] = outcomes.sort((a, b) => b.ran - a.ran)
  assert.deepEqual(ran, { ran: true, result: 1 })
  for (const other of others) assert.deepEqual(other, { ran: false, result: undefined })

  const failure = new Error('no disk')
  await assert.rejects(
    clients[0].runOnce('fails', () => {
      throw failure
    }),
    failure
  )
  assert.deepEqual(await clients[1].runOnce('fails', () => 1), { ran: false, result: undefined })
  await assert.rejects(clients[0].runOnce('x'), /takes a function/)
  await assert.rejects(
    clients[0].runOnce('x', { tll: 1 }, () => {}),
    /did you mean "ttl"/
  )
})

test('node-cron does not run a task whose coordinator fails, and completes one whose task fails', async t => {
  const { clients } = await open(t)
  const other = await cluster(1, compose({ jobs: jobs() }))
  const closed = jobs.client(other.nodes[0], 'jobs')
  await other.close()
  await assert.rejects(closed.shouldRun('a run', 1000), { code: 'ERR_CONFLUX_CLOSED' })

  const events = []
  const task = (name, runCoordinator, run) => {
    const task = cron.schedule('* * * * * *', run, { name, distributed: true, runCoordinator })
    t.after(() => task.destroy())
    task.on('execution:skipped', ({ reason }) => events.push(`${name} ${reason}`))
    task.on('execution:failed', () => events.push(`${name} failed`))
  }
  task('closed', closed, () => events.push('closed ran'))
  task('broken', clients[0], () => {
    throw new Error('no')
  })
  await until('each has had its turn', () => new Set(events).size >= 2)
  assert.deepEqual([...new Set(events)].sort(), ['broken failed', 'closed coordinator-error'])
  await until('the run that failed is over', () => clients[0].list()[0].completedAt !== null)
})

test('the coordinator of the whole process, and one of a task, which goes before it', async t => {
  const { clients } = await open(t)
  const asked = []
  const leases = []
  const noting = (name, client) => ({
    shouldRun(run, lease) {
      asked.push(`${name} ${run.slice(0, run.indexOf(':'))}`)
      leases.push(lease)
      return client.shouldRun(run, lease)
    },
    onComplete: client.onComplete
  })
  cron.setRunCoordinator(noting('process', clients[0]))
  t.after(() => cron.setRunCoordinator(undefined))
  const ran = new Set()
  const schedule = (name, options) => {
    const task = cron.schedule('* * * * * *', () => ran.add(name), { name, distributed: true, ...options })
    t.after(() => task.destroy())
  }
  schedule('one', { distributedLease: 2500 })
  schedule('two', { distributedLease: 2500, runCoordinator: noting('task', clients[1]) })
  await until('both have run', () => ran.size === 2)
  assert.deepEqual([...new Set(asked)].sort(), ['process one', 'task two'])
  assert.deepEqual([...new Set(leases)], [2500])
})
