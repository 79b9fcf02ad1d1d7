/**
 * Draws SVG charts, with Vega and without a browser: what peers do in flight and one at a time, on logarithmic scales,
 * and the curves of `scale.js`. Called by `docs.js` and `scale/page.js`.
 */
'use strict'

const { Stop } = require('../scripts/steps')
const { figure } = require('./figures')
const { describe } = require('./machine')
const { missingPackage, requirePackage } = require('./packages')

const WIDTH = 560
const SCHEMA = 'https://vega.github.io/schema/vega-lite/v5.json'

async function chart(run, peers) {
  return draw(specification(run, peers))
}

/** A panel for each series of a curve, one above the other. */
async function curveChart(curve, points, subtitle) {
  return draw({
    $schema: SCHEMA,
    background: 'white',
    padding: 16,
    title: { text: curve.title, subtitle, anchor: 'start' },
    vconcat: curve.series.map(({ name, unit }) => line(curve.x, name, unit, points))
  })
}

function line({ title, unit: xUnit }, name, unit, points) {
  const withUnit = (text, unit) => (unit ? `${text} (${unit})` : text)
  const values = points.map(({ x, figures }) => ({ x: `${x.toLocaleString('en')}`, y: figures[name] }))
  return {
    width: WIDTH,
    height: 90,
    title: { text: withUnit(name, unit), anchor: 'start', fontSize: 11, fontWeight: 'normal' },
    data: { values },
    encoding: {
      // The sizes were chosen, each a multiple of the one before: they stand at equal distances.
      x: { field: 'x', type: 'ordinal', sort: null, title: withUnit(title, xUnit), axis: { labelAngle: 0 } },
      y: { field: 'y', type: 'quantitative', title: null, scale: { zero: true } }
    },
    layer: [
      { mark: { type: 'line', point: true, color: '#0b6e4f' } },
      {
        mark: { type: 'text', dy: -8 },
        encoding: { text: { field: 'y', type: 'quantitative', format: ',.3~r' } }
      }
    ]
  }
}

async function draw(specification) {
  assertDrawable()
  const vega = requirePackage('vega')
  const { compile } = requirePackage('vega-lite')
  const { spec } = compile(specification)
  return new vega.View(vega.parse(spec), { renderer: 'none' }).toSVG()
}

function specification(run, peers) {
  const of = (scenario, title, name) =>
    peers
      .map(peer => ({ peer: peer.title, value: figure(run.records, scenario, title, peer.name, name) }))
      .filter(({ value }) => value !== undefined)
  return {
    $schema: SCHEMA,
    background: 'white',
    padding: 16,
    title: {
      text: 'conflux and its peers, Redis, three processes',
      subtitle: describe(run),
      anchor: 'start'
    },
    vconcat: [
      bars(
        'calls per second, 3,000 in flight (more is better)',
        of('throughput-redis', '3,000', '/s'),
        ',.0f'
      ),
      bars(
        'one call from the leader, p50, ms (less is better)',
        of('latency-redis', '', 'leader p50'),
        ',.2f'
      ),
      bars('kill -9 of the leader → next commit, ms (less is better)', of('failover', '', 'gap'), ',.0f')
    ].filter(({ data }) => data.values.length > 0)
  }
}

function bars(title, values, format) {
  const y = { field: 'peer', type: 'nominal', sort: null, title: null }
  const x = { field: 'end', type: 'quantitative', scale: { type: 'log' }, title }
  // A logarithmic scale has no zero: who did nothing gets no bar, and says so.
  const start = Math.min(...values.map(({ value }) => value).filter(value => value > 0)) / 2
  return {
    width: WIDTH,
    data: {
      values: values.map(row => ({
        ...row,
        end: Math.max(row.value, start),
        isOurs: row.peer === 'conflux'
      }))
    },
    encoding: { y },
    layer: [
      {
        mark: { type: 'bar' },
        encoding: {
          x,
          x2: { datum: start },
          color: {
            field: 'isOurs',
            type: 'nominal',
            legend: null,
            scale: { domain: [true, false], range: ['#0b6e4f', '#9aa5b1'] }
          }
        }
      },
      {
        mark: { type: 'text', align: 'left', dx: 4 },
        encoding: { x, text: { field: 'value', type: 'quantitative', format } }
      }
    ]
  }
}

/** Throws if what draws is not installed: the error comes before the run, not after. */
function assertDrawable() {
  const how = missingPackage('vega-lite')
  if (how) throw new Stop(`The chart is drawn by vega-lite, which is not installed: ${how}.`)
}

module.exports = { assertDrawable, chart, curveChart }
