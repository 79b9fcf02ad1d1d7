/**
 * Writes docs/scale.md from a run: of each curve a chart, a table, and what follows from the figures. Called by
 * `scale.js` and by a test.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const { root } = require('../../scripts/steps')
const { curveChart } = require('../chart')
const { format } = require('../figures')
const { describe } = require('../machine')
const { markdown, plain } = require('../table')

const INTRODUCTION = `# How cost grows

What a larger state, more stores, more members, larger actions, more subscribers, more calls or a slower reducer cost:
measured at some sizes each, on one machine that runs Redis and all processes. Your machine has other figures; the shapes
remain. [Performance](performance.md) compares conflux with other systems.`

const BY_YOURSELF = `## Run it yourself

\`\`\`
npm run bench:scale                  all curves; writes this page
npm run bench:scale -- --quick       within two minutes; writes nothing
npm run bench:scale -- --only members    curves by name; --list names them
\`\`\``

async function writePage(run, curves) {
  const folder = path.join(root, 'docs', 'scale')
  fs.mkdirSync(folder, { recursive: true })
  for (const curve of curves) {
    const points = measured(run, curve)
    if (points.length > 0)
      fs.writeFileSync(path.join(folder, `${curve.name}.svg`), await curveChart(curve, points, describe(run)))
  }
  fs.writeFileSync(path.join(root, 'docs', 'scale.md'), page(run, curves))
  console.log('\nWritten: docs/scale.md, docs/scale/')
}

function page(run, curves) {
  const sections = curves.filter(curve => measured(run, curve).length > 0).map(curve => section(run, curve))
  const command = run.isQuick ? 'npm run bench:scale -- --quick' : 'npm run bench:scale'
  const roughly = run.isQuick ? ' Its windows are short: the figures are rough.' : ''
  const head = `Measured: ${describe(run)}; \`${command}\`.${roughly}`
  return `${[INTRODUCTION, head, summary(run, curves), ...sections, BY_YOURSELF].join('\n\n')}\n`
}

/** What follows from all curves. */
function summary(run, curves) {
  const lines = curves.flatMap(curve => {
    const points = measured(run, curve)
    return points.length === 0 ? [] : [`- **${curve.title}**: ${curve.advice(points, { count }).join(' ')}`]
  })
  return `## When to split a store\n\n${lines.join('\n')}`
}

function section(run, curve) {
  const points = measured(run, curve)
  return [
    `## ${curve.title}`,
    curve.setting,
    `![${curve.title}](scale/${curve.name}.svg)`,
    markdown(table(curve, points))
  ].join('\n\n')
}

function plainTable(curve, points) {
  return plain(table(curve, points))
}

function table(curve, points) {
  const head = [curve.x.title, ...curve.series.map(({ name }) => name)]
  const rows = points.map(({ x, figures, failed }) => [
    `${count(x)} ${curve.x.unit}`.trim(),
    ...(figures ? curve.series.map(({ name, unit }) => format(figures[name], unit)) : [failed])
  ])
  return { head, rows }
}

function measured(run, curve) {
  return (run.points[curve.name] ?? []).filter(({ figures }) => figures)
}

function count(number) {
  return Number(number.toPrecision(3)).toLocaleString('en')
}

module.exports = { page, plainTable, writePage }
