/**
 * Holds that `npm run bench:scale` runs: each curve at one small size for a fraction of a second, and the page that is
 * made of its figures. No timing is looked at.
 */
'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')

const { CURVES } = require('../benches/scale/curves')
const { measureCurve } = require('../benches/scale/measure')
const { page, plainTable } = require('../benches/scale/page')
const { startRedisServer } = require('../scripts/redis-server')

const SIZES = {
  'state-size': [0.1],
  stores: [2],
  members: [6],
  'action-size': [1],
  subscribers: [3],
  pending: [10],
  'reducer-cost': [5]
}
const MACHINE = { conflux: '2.0.0', node: '20', redis: '7', machine: 'any', date: '2026-01-01' }

test('each curve gives all of its figures, and the page has a table and a sentence of each', async t => {
  const redis = await startRedisServer()
  t.after(() => redis.kill())
  const points = {}
  for (const curve of CURVES) {
    const small = { ...curve, sizes: () => SIZES[curve.name] }
    points[curve.name] = await measureCurve(small, { isQuick: true, redis, seconds: 0.2 })
    const [{ figures, failed }] = points[curve.name]
    assert.equal(failed, undefined, curve.name)
    assert.deepEqual(
      Object.keys(figures),
      curve.series.map(({ name }) => name)
    )
    for (const [name, value] of Object.entries(figures))
      assert.ok(value >= 0, `${curve.name}, ${name}: ${value}`)
    assert.equal(plainTable(curve, points[curve.name]).split('\n').length, 2)
  }
  const text = page({ ...MACHINE, isQuick: true, points }, CURVES)
  for (const { name, title } of CURVES) {
    assert.ok(text.includes(`## ${title}`), title)
    assert.ok(text.includes(`scale/${name}.svg`), name)
  }
  assert.match(text, /\*\*Stores in a process\*\*: (Up to 2 stores|Every size)/)
})

test('the page says from which of the measured sizes on a store should be split', () => {
  const curve = CURVES.find(({ name }) => name === 'subscribers')
  const at = (x, calls) => ({ x, figures: { calls } })
  const advice = points => curve.advice(points, { count: String })[0]
  assert.match(
    advice([at(0, 100), at(10, 60), at(100, 40)]),
    /^Up to 10 subscribers the limit holds .*; with 100 subscribers it does not\./
  )
  assert.match(advice([at(0, 100), at(10, 60)]), /^Up to 10 subscribers, the most that was measured, /)
})

test('a size that fails is reported, and its processes are ended', async () => {
  let closed = 0
  const curve = {
    title: 'any',
    x: { unit: '' },
    sizes: () => [1],
    measure: async ({ start }) => {
      const cluster = start()
      cluster.close = () => closed++
      throw new Error('it fails')
    }
  }
  const points = await measureCurve(curve, { redis: { url: '' }, seconds: 0 })
  assert.deepEqual(points, [{ x: 1, failed: 'it fails' }])
  assert.equal(closed, 1)
})
