/**
 * Compiles the types with the oldest, the newest and another supported TypeScript, as Node and as bundlers
 * resolve them, and holds their lists against the sources.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')

const { manifest } = require('../scripts/steps')
const { compile, root } = require('./project')

/** The first is the oldest that the README names. */
const COMPILERS = ['typescript-5.4', 'typescript', 'typescript-7.0']

const PROJECTS = {
  'as Node resolves them': 'tsconfig.json',
  'as bundlers resolve them': '__test__/tsconfig.bundler.json',
  'with the types of Node': '__test__/tsconfig.node.json',
  'with exact optional properties': '__test__/tsconfig.exact.json'
}

for (const compiler of COMPILERS) {
  const { version } = require(path.join(root, 'node_modules', compiler, 'package.json'))
  for (const [how, project] of Object.entries(PROJECTS)) {
    test(`the types hold ${how}, in TypeScript ${version}`, async () => {
      const { code, output } = await compile(path.join(root, project), compiler)
      assert.equal(code, 0, output)
    })
  }
}

test('the README names the oldest TypeScript that is tested', () => {
  const [, oldest] = /TypeScript ≥ (\d+\.\d+)/.exec(read('README.md'))
  assert.equal(COMPILERS[0], `typescript-${oldest}`)
  assert.deepEqual(
    Object.keys(manifest.devDependencies)
      .filter(name => /^typescript(-|$)/.test(name))
      .sort(),
    COMPILERS.toSorted()
  )
})

const read = name => fs.readFileSync(path.join(root, name), 'utf8')
const types = read('index.d.ts')

test('the type of the error codes lists those that the sources report, and the reference explains each', () => {
  const [, union] = /type ErrorCode =\n((?: +\| '\w+'\n)+)/.exec(types)
  const listed = union.match(/\w+/g)
  const reported = sources().flatMap(text => text.match(/\bERR_CONFLUX_[A-Z_]*[A-Z]\b/g) ?? [])
  assert.deepEqual(listed, [...new Set(reported)].sort())
  const elsewhere = types.replace(union, '') + read('recipes.d.ts')
  assert.deepEqual(
    listed.filter(code => !new RegExp(`\\b${code}\\b`).test(elsewhere)),
    []
  )
})

/** Each file of JavaScript and Rust that is shipped. `src/tidy.rs` holds rules, and is not. */
function sources() {
  const files = ['lib', 'src'].flatMap(folder =>
    fs
      .readdirSync(path.join(root, folder), { recursive: true })
      .map(name => path.join(folder, name))
      .filter(name => /\.(js|rs)$/.test(name) && name !== path.join('src', 'tidy.rs'))
  )
  return ['index.js', ...files].map(read)
}

test('an ES module imports every type by its name', () => {
  const [, namespace] = /declare namespace conflux \{\n([^]*?)\n\}\n/.exec(types)
  // What is marked as internal is no name for applications.
  const declared = [...namespace.matchAll(/^( {2}\/\*\* @internal.*\n)? {2}(?:type|interface) (\w+)/gm)]
  const names = declared.filter(([, internal]) => internal === undefined).map(([, , name]) => name)
  const [, exported] = /export type \{([^}]*)\}/.exec(read('index.d.mts'))
  assert.deepEqual(exported.match(/\w+/g), names.sort())
})
