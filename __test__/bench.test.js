/**
 * Holds that the benchmark runs: one scenario for a fraction of a second, its ledger, and what is made of its
 * figures. No timing is looked at.
 */
'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')

const { broken, runScenario } = require('../benches/run')
const { Seen } = require('../benches/seen')
const { plain, sections } = require('../benches/table')
const { targets } = require('../benches/targets')
const conflux = require('../benches/peers/conflux')
const latencyMemory = require('../benches/scenarios/latency-memory')
const throughputRedis = require('../benches/scenarios/throughput-redis')
const { startRedisServer } = require('../scripts/redis-server')

test('a scenario gives figures, ledger and a row of the table', async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const settings = { isQuick: true, redis, seconds: 0.2, rounds: 1 }
  const scenarios = [latencyMemory, throughputRedis]
  const records = []
  for (const scenario of scenarios) records.push(...(await runScenario(scenario, [conflux], settings)))

  const [latency, throughput] = records
  assert.equal(records.length, 2)
  assert.equal(latency.failed, undefined)
  assert.equal(throughput.failed, undefined)
  assert.deepEqual(Object.keys(latency.figures), ['leader p50', 'leader p99', 'follower p50', 'follower p99'])
  for (const { ledger } of records) {
    assert.ok(ledger.acknowledged > 0)
    assert.equal(ledger.nodes, 3)
    assert.equal(ledger.lost + ledger.doubled, 0)
  }
  assert.deepEqual(broken(records), [])
  assert.deepEqual(JSON.parse(JSON.stringify(records)), records)

  const [first, second] = sections(scenarios, [conflux], records)
  assert.match(plain(first), /leader p50 +\d/)
  assert.match(plain(second), /3,000 +[\d,]+ \/s/)
  const reached = targets(records).filter(row => ['met', 'not met'].includes(row.at(-1)))
  assert.deepEqual(
    reached.map(([what]) => what),
    ['sequential, memory, 3 nodes in a process, p50', '3,000 in flight, Redis, 3 processes']
  )
})

test('a run that lost or doubled an acknowledged action says so', () => {
  const acknowledged = new Seen()
  const applied = new Seen()
  for (const number of [1, 2, 4, 3]) acknowledged.add(number)
  for (const number of [2, 1, 2, 4]) applied.add(number)
  assert.equal(Seen.from(JSON.parse(JSON.stringify(applied))).lacks(acknowledged), 1)
  assert.equal(applied.doubled, 1)
  assert.equal(broken([{ peer: 'conflux', ledger: { lost: 1, doubled: 0 } }]).length, 1)
  assert.equal(broken([{ peer: 'conflux', ledger: { lost: 0, doubled: 1 } }]).length, 1)
  assert.equal(broken([{ peer: 'conflux', ledger: { lost: 0, doubled: 0 } }]).length, 0)
})

test('what fails or hangs is reported, and what it started is ended', async () => {
  let ended = 0
  const hanging = { name: 'hangs', title: 'hangs', start: async (_, run) => run.defer(() => ended++) }
  const scenario = {
    name: 'any',
    peers: ['hangs'],
    deadlineSeconds: 0.05,
    cases: () => [{ title: '' }],
    measure: async ({ start }) => {
      await start({})
      return new Promise(() => {})
    }
  }
  const [record] = await runScenario(scenario, [hanging], { rounds: 1 })
  assert.match(record.failed, /not done within 0.05 s/)
  assert.equal(ended, 1)
})
