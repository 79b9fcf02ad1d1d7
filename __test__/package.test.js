/**
 * Shows that the npm package installs and loads without Rust and without a registry.
 */
'use strict'

const assert = require('node:assert/strict')
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { faultsOfContents, faultsOfManifest } = require('../scripts/check-package')
const { packLocal, platformName } = require('../scripts/pack-local')
const { npm } = require('../scripts/steps')
const { runFile } = require('./project')

const HELLO = `
  const node = conflux({
    id: 'a', clusterSize: 1, channel: { name: 'memory' },
    methods: { add: n => n }, reduce: (sum = 0, n) => sum + (n ?? 0)
  })
  node.perform('add', [2]).then(() => {
    console.log('the sum is ' + node.getState())
    return node.close()
  })
`

test('the two tarballs of pack:local install together offline; require and import load them', async t => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-install-'))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  const tarballs = await packLocal(path.join(folder, 'dist'))
  fs.writeFileSync(path.join(folder, 'package.json'), '{"private": true}')

  const nowhere = path.join(folder, 'empty-cache')
  await npm(
    ['install', '--offline', '--no-audit', '--no-fund', '--cache', nowhere, '--silent', ...tarballs],
    {
      cwd: folder,
      quiet: true
    }
  )

  for (const [file, load] of [
    ['required.cjs', "const conflux = require('conflux')"],
    ['imported.mjs', "import conflux from 'conflux'"]
  ]) {
    fs.writeFileSync(path.join(folder, file), load + HELLO)
    const { code, output } = await runFile(path.join(folder, file))
    assert.equal(output.trim(), 'the sum is 2')
    assert.equal(code, 0)
  }

  // Without the binary's package there is one clear error, at require.
  fs.rmSync(path.join(folder, 'node_modules', `conflux-${platformName()}`), { recursive: true })
  const { code, output } = await runFile(path.join(folder, 'required.cjs'))
  assert.notEqual(code, 0)
  for (const fact of [process.platform, process.arch, `conflux-${platformName()}`, 'npm run build']) {
    assert.ok(output.includes(fact), `the error does not name ${fact}:\n${output}`)
  }
})

test('check-package sees a missing file, a stray file, dependencies and install scripts', () => {
  assert.deepEqual(faultsOfContents(['a'], ['a']), [])
  assert.equal(faultsOfContents([], ['a']).length, 1)
  assert.equal(faultsOfContents(['a', 'src/lib.rs'], ['a']).length, 1)
  assert.deepEqual(faultsOfManifest({ scripts: { test: 'x' } }), [])
  assert.equal(faultsOfManifest({ scripts: {}, dependencies: { croner: '1', other: '1' } }).length, 1)
  assert.equal(faultsOfManifest({ scripts: {}, optionalDependencies: {} }).length, 1)
  assert.equal(faultsOfManifest({ scripts: { postinstall: 'x' } }).length, 1)
})

test('a script that lacks something ends with one sentence that says what', () => {
  const script = path.join(__dirname, '..', 'scripts', 'build.js')
  const { status, stderr } = spawnSync(process.execPath, [script], {
    env: { ...process.env, PATH: path.join(os.tmpdir(), 'nothing-here'), Path: undefined },
    encoding: 'utf8'
  })
  assert.equal(status, 1)
  assert.match(stderr, /^\n✗ Rust is missing: install it as https:\/\/rustup\.rs says .*\n$/)
})
