/**
 * Runs every JavaScript block of README.md and of the pages about what is used with conflux, and every example, as a
 * user would, and compiles those of the README: checked as JavaScript, and pasted into TypeScript.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')

const { compile, link, makeProject, root, runFile } = require('./project')

const readme = read('README.md')
const blocks = blocksOf(readme)

function read(name) {
  return fs.readFileSync(path.join(root, name), 'utf8')
}

function blocksOf(page) {
  return [...page.matchAll(/^```(js|mjs)\n([^]*?)^```$/gm)].map(([, kind, code]) => ({ kind, code }))
}

/** With what the blocks import. */
function makeFullProject(t) {
  const folder = makeProject(t)
  for (const name of ['@reduxjs/toolkit', 'redux', 'redux-thunk', 'react', 'react-redux', 'prom-client']) {
    link(folder, name, path.join(root, 'node_modules', name))
  }
  return folder
}

/** It reads the terminal and runs three times: failover.test.js does so. */
const isPrintedExample = ({ code }) => code.startsWith('// app.js')

test('the README prints examples/app.js', () => {
  const printed = blocks.filter(isPrintedExample).map(({ code }) => code)
  assert.deepEqual(printed, [fs.readFileSync(path.join(root, 'examples', 'app.js'), 'utf8')])
})

for (const page of ['README.md', 'docs/redux.md', 'docs/observability.md']) {
  blocksOf(read(page)).forEach(({ kind, code }, i) => {
    if (isPrintedExample({ code })) return
    test(`block ${i + 1} of ${page} runs and ends by itself (${code.split('\n').length} lines)`, async t => {
      const file = path.join(makeFullProject(t), kind === 'mjs' ? 'block.mjs' : 'block.js')
      fs.writeFileSync(file, code)
      const { code: exitCode, output } = await runFile(file, { seconds: 30 })
      assert.equal(exitCode, 0, output)
      // What a comment behind `console.log` shows is what is printed.
      for (const [, promised] of code.matchAll(/console\.log\(.*\)\)? \/\/ ([[{\d].*)$/gm)) {
        assert.ok(output.includes(promised.split(', on every')[0]), `${promised} is not in:\n${output}`)
      }
    })
  })
}

test('the first line of the README says Redux, and its integration has ten lines', () => {
  assert.match(
    readme.split('\n').find(line => /^\w/.test(line)),
    /\bRedux\b/
  )
  const { code } = blocks.find(({ code }) => code.includes('conflux/redux'))
  assert.ok(code.trim().split('\n').length <= 10)
})

const TSCONFIG = {
  compilerOptions: {
    module: 'node16',
    moduleResolution: 'node16',
    target: 'es2022',
    strict: true,
    noEmit: true,
    allowJs: true,
    checkJs: true,
    types: ['node'],
    typeRoots: [path.join(root, 'node_modules', '@types')]
  },
  include: ['block-*']
}

/** A block as it is written in TypeScript: what `require` gives is typed only by an `import`. */
function toTypeScript(code) {
  return code
    .replace(/^const (\w+) = require\((.*)\)$/gm, 'import $1 = require($2)')
    .replace(/^const (\{.*\}) = require\((.*)\)$/gm, 'import $1 from $2')
}

function writeBlocks(folder, convert) {
  fs.writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG))
  blocks.forEach(({ kind, code }, i) => {
    const name = `block-${i + 1}.${kind}`
    // Each is a module: all of them declare a `node`.
    fs.writeFileSync(
      path.join(folder, convert === undefined ? name : name.replace('js', 'ts')),
      (convert ?? String)(code)
    )
  })
}

for (const compiler of ['typescript-5.4', 'typescript', 'typescript-7.0']) {
  test(`the blocks of the README hold as checked JavaScript, by ${compiler}`, async t => {
    const folder = makeFullProject(t)
    writeBlocks(folder)
    const { code, output } = await compile(folder, compiler)
    assert.equal(code, 0, output)
  })

  test(`the blocks of the README hold as TypeScript, by ${compiler}`, async t => {
    const folder = makeFullProject(t)
    writeBlocks(folder, toTypeScript)
    const { code, output } = await compile(folder, compiler)
    assert.equal(code, 0, output)
  })
}

test('the type error that the README names is one', async t => {
  const call = "perform('withdraw', ['60'])"
  assert.ok(readme.includes(`\`${call}\` is a type error`))
  const folder = makeFullProject(t)
  writeBlocks(folder)
  const i = blocks.findIndex(({ code }) => code.includes('withdraw(amount)'))
  fs.appendFileSync(path.join(folder, `block-${i + 1}.js`), `node.${call}\n`)
  const { output } = await compile(folder)
  assert.match(
    output,
    /^\S*block-\d+\.js\(\d+,\d+\): error TS2322: Type 'string' is not assignable to type 'number'\.\n$/
  )
})

for (const name of ['lock.js', 'scheduler.js']) {
  test(`examples/${name} runs and ends by itself`, async () => {
    const { code, output } = await runFile(path.join(root, 'examples', name), { seconds: 30 })
    assert.equal(code, 0, output)
  })
}
