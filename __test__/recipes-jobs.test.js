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
  await until('three runs', () => runs.length >= 3)
  await Promise.all(tasks.map(task => task.stop()))
  assert.equal(new Set(runs).size, runs.length, 'a run happened twice')
  assert.ok(skipped.length >= 2 * (runs.length - 1), 'the others were not asked')
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
