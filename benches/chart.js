/**
 * Draws a run as an SVG chart, with Vega and without a browser: what peers do in flight and one at a time, on
 * logarithmic scales. Called by `docs.js`.
 */
'use strict'

const { Stop } = require('../scripts/steps')
const { figure } = require('./figures')
const { describe } = require('./machine')
const { missingPackage, requirePackage } = require('./packages')

const WIDTH = 560

async function chart(run, peers) {
  assertDrawable()
  const vega = requirePackage('vega')
  const { compile } = requirePackage('vega-lite')
  const { spec } = compile(specification(run, peers))
  return new vega.View(vega.parse(spec), { renderer: 'none' }).toSVG()
}

function specification(run, peers) {
  const of = (scenario, title, name) =>
    peers
      .map(peer => ({ peer: peer.title, value: figure(run.records, scenario, title, peer.name, name) }))
      .filter(({ value }) => value !== undefined)
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v5.json',
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

module.exports = { assertDrawable, chart }
