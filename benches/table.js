/**
 * Turns the records of a run into rows: a section for each scenario, a column for each peer, and with every
 * figure how many times better this tree is. Called by `bench.js` and `docs.js`. It only reads.
 */
'use strict'

const { figure, format, unitOf } = require('./figures')

/** `[{ title, head, rows }]`, all cells text. */
function sections(scenarios, peers, records) {
  return scenarios.map(scenario => section(scenario, peers, records)).filter(({ rows }) => rows.length > 0)
}

function section(scenario, peers, records) {
  const here = records.filter(record => record.scenario === scenario.name)
  const columns = peers.filter(peer => here.some(record => record.peer === peer.name))
  const keys = unique(
    here.flatMap(record => Object.keys(record.figures ?? {}).map(name => [record.case, name]))
  )
  const isAlone = columns.length === 1
  const rows = keys.map(([title, name]) => {
    const unit = unitOf(scenario, name)
    const of = peer => figure(records, scenario.name, title, peer.name, name)
    const ours = figure(records, scenario.name, title, 'conflux', name)
    const cells = columns.map(peer => format(of(peer), unit) + comparison(peer, ours, of(peer), unit))
    const first = keys.find(key => key[1] === name)
    const base = figure(records, scenario.name, first[0], columns[0].name, name)
    const toFirst = isAlone && first[0] !== title ? [times(of(columns[0]) / base)] : isAlone ? [''] : []
    return [[title, name === scenario.unit ? '' : name].filter(Boolean).join(', '), ...cells, ...toFirst]
  })
  const hasRatios = isAlone && rows.some(row => row.at(-1) !== '')
  if (isAlone && !hasRatios) for (const row of rows) row.pop()
  const head = ['', ...columns.map(peer => peer.title), ...(hasRatios ? ['to the first'] : [])]
  return { title: scenario.title, head, rows: [...rows, ...failures(here, columns)] }
}

function comparison(peer, ours, theirs, unit) {
  if (peer.name === 'conflux' || !ours || !theirs) return ''
  return ` (${times(unit === '/s' ? ours / theirs : theirs / ours)})`
}

/** How many times better this tree is. */
function times(ratio) {
  return `${Number(ratio.toPrecision(ratio < 1 ? 2 : 3)).toLocaleString('en')}×`
}

function failures(records, columns) {
  const failed = records.filter(record => record.failed)
  if (failed.length === 0) return []
  const cells = columns.map(peer => {
    const texts = failed.filter(record => record.peer === peer.name).map(record => record.failed)
    return texts.length === 0 ? '' : `${texts.length}: ${texts[0]}`
  })
  return [['failed', ...cells]]
}

function unique(pairs) {
  return [...new Map(pairs.map(pair => [JSON.stringify(pair), pair])).values()]
}

function plain({ head, rows }) {
  const all = [head, ...rows]
  const widths = head.map((_, i) => Math.max(...all.map(row => (row[i] ?? '').length)))
  const line = row =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[i] + 2))).join('')
  return all.map(row => `  ${line(row).trimEnd()}`).join('\n')
}

function markdown({ head, rows }) {
  const line = row => `| ${row.join(' | ')} |`
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n')
}

module.exports = { markdown, plain, sections }
