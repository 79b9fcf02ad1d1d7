/**
 * Writes the figures of a run into docs/performance.md, between its markers, and the chart beside it. Called by
 * `bench.js -- --write-docs`. It leaves the prose of that page as it is.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const { Stop, root } = require('../scripts/steps')
const { chart } = require('./chart')
const { describe } = require('./machine')
const { markdown, sections } = require('./table')
const { targets } = require('./targets')

const BEGIN = '<!-- figures: npm run bench -- --write-docs -->'
const END = '<!-- end of figures -->'

async function writeDocs(run, scenarios, peers) {
  const file = path.join(root, 'docs', 'performance.md')
  const page = fs.readFileSync(file, 'utf8')
  const [before, rest] = page.split(BEGIN)
  const after = rest?.split(END)[1]
  if (after === undefined) throw new Stop(`docs/performance.md has lost its markers: ${BEGIN}, ${END}.`)

  const svg = await chart(run, peers)
  fs.writeFileSync(path.join(root, 'docs', 'performance.svg'), svg)
  fs.writeFileSync(file, `${before}${BEGIN}\n\n${figures(run, scenarios, peers)}\n\n${END}${after}`)
  console.log('\nWritten: docs/performance.md, docs/performance.svg')
}

function figures(run, scenarios, peers) {
  const [head, ...rows] = targets(run.records)
  const present = peers.filter(({ name }) => run.records.some(({ peer }) => peer === name))
  return [
    `Measured: ${describe(run)}; \`npm run bench\`${run.isQuick ? ' `-- --quick`' : ''}.`,
    `### Targets\n\n${markdown({ head, rows })}`,
    `### What each promises\n\n${present.map(({ title, promise }) => `- **${title}**: ${promise}`).join('\n')}`,
    ...sections(scenarios, peers, run.records).map(
      section => `### ${section.title[0].toUpperCase()}${section.title.slice(1)}\n\n${markdown(section)}`
    )
  ].join('\n\n')
}

module.exports = { writeDocs }
