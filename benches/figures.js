/**
 * Looks figures up in the records of a run. Called by the table, the targets and the chart.
 */
'use strict'

/** The median over rounds, or undefined if it was not measured. */
function figure(records, scenario, title, peer, name) {
  const values = records
    .filter(record => record.scenario === scenario && record.case === title && record.peer === peer)
    .map(({ figures }) => figures?.[name])
    .filter(value => value !== undefined)
    .sort((a, b) => a - b)
  if (values.length === 0) return undefined
  const middle = values.length >> 1
  return values.length % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2
}

/** The unit of a figure stands in its name, or is that of its scenario. */
function unitOf(scenario, name) {
  return /\((.*)\)$/.exec(name)?.[1] ?? scenario.unit
}

function format(value, unit) {
  if (value === undefined) return '–'
  if (unit === '/s') return `${Math.round(value).toLocaleString('en')} /s`
  if (unit === 'ms' && value < 1) return `${Math.round(value * 1000)} µs`
  if (unit === 'ms') return `${value < 10 ? value.toFixed(2) : Math.round(value).toLocaleString('en')} ms`
  if (unit.startsWith('%')) return `${value.toFixed(2)} %`
  if (unit === 'MB') return `${value.toFixed(1)} MB`
  return Math.round(value).toLocaleString('en') + (unit ? ` ${unit}` : '')
}

module.exports = { figure, format, unitOf }
