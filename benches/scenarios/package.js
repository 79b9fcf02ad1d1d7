/** Measures what it costs to have the package: loading it, its binary, what it brings along. */
'use strict'

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const { root } = require('../../scripts/steps')

const LOADS = 9

module.exports = {
  name: 'package',
  title: 'the package',
  peers: ['conflux', 'conflux-1'],
  unit: '',
  cases: () => [{ title: '', rounds: 1 }],
  measure: async ({ peer }) => {
    const where = peer.name === 'conflux' ? root : path.join(root, 'node_modules', peer.name)
    const { dependencies = {} } = JSON.parse(fs.readFileSync(path.join(where, 'package.json'), 'utf8'))
    const figures = {
      'require (ms)': loadTime(where),
      'runtime dependencies': Object.keys(dependencies).length
    }
    const binary = fs.readdirSync(where).find(name => name.endsWith('.node'))
    return binary ? { ...figures, 'binary (MB)': fs.statSync(path.join(where, binary)).size / 1e6 } : figures
  }
}

/** The median over fresh processes. */
function loadTime(where) {
  const code = `const start = performance.now(); require(${JSON.stringify(where)}); console.log(performance.now() - start); process.exit()`
  const times = Array.from({ length: LOADS }, () =>
    Number(execFileSync(process.execPath, ['--no-warnings', '-e', code], { encoding: 'utf8' }))
  )
  return times.sort((a, b) => a - b)[Math.floor(LOADS / 2)]
}
