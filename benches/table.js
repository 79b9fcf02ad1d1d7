/**
 * This file turns the figures of the benchmark into the table that `bench.js` prints. It only reads them.
 */
'use strict'

const TITLES = { memory: 'memory: three nodes in one process', redis: 'Redis: one process per node' }

function table(results, memory) {
  const rows = [['', '1.1.8', 'this', 'ratio']]
  for (const channel of ['memory', 'redis']) {
    const here = results.filter(result => result.channel === channel)
    rows.push([TITLES[channel]])
    for (const from of ['leader', 'follower']) {
      for (const p of [0.5, 0.99]) {
        const [old, now] = both(here, result => result.latencies, latency(from, p))
        rows.push([
          `  one at a time, ${from}, p${p * 100}`,
          milliseconds(old),
          milliseconds(now),
          ratio(old, now)
        ])
      }
    }
    for (const inFlight of new Set(here.flatMap(result => result.inFlight ?? []))) {
      const [old, now] = both(here, result => result.inFlight === inFlight, meanThroughput)
      const title = `  ${inFlight.toLocaleString('en')} in flight, leader`
      rows.push([title, perSecond(old), perSecond(now), ratio(now, old)])
    }
    const [old, now] = both(here, () => true, books)
    rows.push(['  acknowledged / lost / doubled', old, now])
  }
  const { 'conflux-1': old, conflux: now } = memory
  rows.push(['one node at rest adds', megabytes(old), megabytes(now), ratio(old, now)])
  return layOut(rows)
}

/** The same figure of both packages. */
function both(results, matches, figure) {
  return ['conflux-1', 'conflux'].map(name =>
    figure(results.filter(result => result.packageName === name && matches(result)))
  )
}

/** The p-quantile over the samples of all rounds. */
function latency(from, p) {
  return results => {
    const samples = results.flatMap(result => result.latencies[from]).sort((a, b) => a - b)
    return samples[Math.min(samples.length - 1, Math.floor(samples.length * p))]
  }
}

function meanThroughput(results) {
  return results.reduce((sum, result) => sum + result.performsPerSecond, 0) / results.length
}

function books(results) {
  const sum = name => results.reduce((total, result) => total + result[name], 0).toLocaleString('en')
  return `${sum('acknowledged')} / ${sum('lost')} / ${sum('doubled')}`
}

function milliseconds(value) {
  return `${value.toPrecision(3)} ms`
}

function perSecond(value) {
  return `${Math.round(value).toLocaleString('en')} /s`
}

function megabytes(value) {
  return `${(value / 1e6).toFixed(1)} MB`
}

function ratio(larger, smaller) {
  return smaller > 0 ? `${Number((larger / smaller).toPrecision(3)).toLocaleString('en')} ×` : '–'
}

function layOut(rows) {
  const widths = [0, 1, 2, 3].map(i =>
    Math.max(...rows.filter(row => row.length > 1).map(row => (row[i] ?? '').length))
  )
  return rows
    .map(row =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[i] + 2)))
        .join('')
        .trimEnd()
    )
    .join('\n')
}

module.exports = { table }
