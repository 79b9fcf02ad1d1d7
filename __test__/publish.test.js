/**
 * Shows what the workflow publishes: each package with its licenses and its repository, and no binary that
 * needs a newer system than promised.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const { GLIBC_MAX, glibcFault, glibcOf } = require('../scripts/glibc')
const { checkNotices, faultsOf, isAccepted } = require('../scripts/notices')
const { preparePublish } = require('../scripts/prepare-publish')
const { manifest, npmRead, root, tool } = require('../scripts/steps')

const read = name => fs.readFileSync(path.join(root, name), 'utf8')

/** What the workflow has when it prepares: the manifest, the folders that napi makes, a binary in each. */
async function makeArtifacts(t) {
  const base = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-publish-'))
  t.after(() => fs.rmSync(base, { recursive: true, force: true }))
  for (const name of ['package.json', 'LICENSE', 'THIRD-PARTY-NOTICES'])
    fs.copyFileSync(path.join(root, name), path.join(base, name))
  await tool('@napi-rs/cli', 'napi', ['create-npm-dirs', '--cwd', base], { quiet: true })
  const folder = path.join(base, 'npm')
  for (const name of fs.readdirSync(folder)) {
    fs.writeFileSync(path.join(folder, name, `conflux.${name}.node`), 'GLIBC_2.17\0GLIBC_2.9\0GLIBC_2.2.5')
  }
  return { base, folder }
}

test('every package gets the license, and says where it is from', async t => {
  const { base, folder } = await makeArtifacts(t)
  preparePublish(folder, 'somebody/conflux', { base })
  const packages = fs.readdirSync(folder)
  assert.equal(packages.length, manifest.napi.targets.length)
  for (const where of [base, ...packages.map(name => path.join(folder, name))]) {
    const { repository, homepage, bugs } = JSON.parse(
      fs.readFileSync(path.join(where, 'package.json'), 'utf8')
    )
    assert.deepEqual(repository, { type: 'git', url: 'git+https://github.com/somebody/conflux.git' })
    assert.equal(homepage, 'https://github.com/somebody/conflux#readme')
    assert.deepEqual(bugs, { url: 'https://github.com/somebody/conflux/issues' })
    const files = packedFiles(where)
    for (const name of ['LICENSE', 'THIRD-PARTY-NOTICES']) {
      assert.equal(fs.readFileSync(path.join(where, name), 'utf8'), read(name))
      assert.ok(files.includes(name), `${name} in ${files}`)
    }
  }
})

/** What npm would publish of a folder. */
function packedFiles(folder) {
  const output = npmRead(['pack', '--dry-run', '--json', '--loglevel=error'], { cwd: folder })
  return Object.values(JSON.parse(output))[0].files.map(file => file.path)
}

test('the notices name what the addon contains, each with a license that is on the list', () => {
  checkNotices()
  const notices = read('THIRD-PARTY-NOTICES')
  for (const [, crate] of notices.matchAll(/^- (\S+ \S+) /gm)) {
    const isNamedAgain = notices
      .split('\n')
      .some(line => / \(.*\), for /.test(line) && `${line},`.includes(` ${crate},`))
    assert.ok(isNamedAgain, `${crate} has no license text`)
  }
  assert.doesNotMatch(notices, /&(quot|lt|gt|amp|#\w+);/)
})

test('a dependency that is new, or has another license or a NOTICE, is a fault', () => {
  const crate = { name: 'a', version: '1.0.0', license: 'MIT' }
  const lock = 'name = "a"\nversion = "1.0.0"\n'
  const accepted = ['MIT', 'ISC', 'Apache-2.0 WITH LLVM-exception']
  const faults = (changed, text = '- a 1.0.0 (MIT)\n') =>
    faultsOf([{ ...crate, ...changed }], { text, lock, accepted })
  assert.deepEqual(faults({}), [])
  assert.match(faults({ version: '1.0.1' }).join(), /lacks a 1\.0\.1: run `npm run licenses`/)
  assert.match(
    faults({ license: 'GPL-3.0' }).join(),
    /a 1\.0\.0 has the license GPL-3\.0, which is not on the list/
  )
  assert.match(faults({ license: '' }).join(), /license unknown/)
  assert.match(faults({ notice: 'By A.' }).join(), /lacks the NOTICE of a 1\.0\.0/)
  assert.deepEqual(faults({ notice: 'By A.\n' }, '- a 1.0.0 (MIT)\nBy A.\n'), [])
  assert.match(
    faults({}, '- a 1.0.0 (MIT)\n- b 2.0.0 (MIT)\n').join(),
    /has b 2\.0\.0, and Cargo\.lock does not/
  )
  for (const [license, expected] of [
    ['MIT', true],
    ['MIT OR GPL-3.0', true],
    ['GPL-3.0/MIT', true],
    ['MIT AND GPL-3.0', false],
    ['MIT AND (GPL-3.0 OR ISC)', true],
    ['(MIT OR ISC) AND GPL-3.0', false],
    ['GPL-3.0 OR MIT AND ISC', true],
    ['Apache-2.0', false],
    ['Apache-2.0 WITH LLVM-exception OR GPL-3.0', true],
    ['(MIT', false],
    ['MIT MIT', false],
    ['', false],
    [undefined, false]
  ]) {
    assert.equal(isAccepted(license, accepted), expected, license)
  }
})

test('nothing is published without a repository, a binary, or on a glibc that is too new', async t => {
  const { base, folder } = await makeArtifacts(t)
  assert.throws(() => preparePublish(folder, undefined, { base }), /repository is unknown/)
  const gnu = path.join(folder, 'linux-x64-gnu', 'conflux.linux-x64-gnu.node')
  const musl = path.join(folder, 'linux-x64-musl', 'conflux.linux-x64-musl.node')
  fs.writeFileSync(musl, 'GLIBC_2.99')
  preparePublish(folder, 'a/b', { base })
  fs.writeFileSync(gnu, 'GLIBC_2.29')
  assert.throws(
    () => preparePublish(folder, 'a/b', { base }),
    /linux-x64-gnu\.node needs glibc 2\.29; .* promises 2\.28/
  )
  fs.rmSync(gnu)
  assert.throws(() => preparePublish(folder, 'a/b', { base }), /linux-x64-gnu has 0 binaries/)
})

test('the glibc that a binary needs is read from it: this one cannot need a newer one than this system has', () => {
  const { glibcVersionRuntime } = process.report.getReport().header
  if (glibcVersionRuntime === undefined) return
  const addon = fs.readdirSync(root).find(name => name.endsWith('-gnu.node'))
  const needed = glibcOf(path.join(root, addon))
  const minor = version => Number(version.split('.')[1])
  assert.match(needed, /^2\.\d+$/)
  assert.ok(minor(needed) <= minor(glibcVersionRuntime), `${needed} of ${glibcVersionRuntime}`)
  assert.equal(glibcFault(path.join(root, addon)) === null, minor(needed) <= minor(GLIBC_MAX))
})

test('README and page say which glibc, and the workflow prepares before it publishes', () => {
  assert.ok(read('README.md').includes(`glibc ≥ ${GLIBC_MAX}`))
  assert.ok(read('docs/platforms.md').includes(`glibc ${GLIBC_MAX} or newer`))
  const workflow = fs
    .readdirSync(path.join(root, '.github', 'workflows'))
    .map(name => read(`.github/workflows/${name}`))
    .join()
  const steps = [
    'napi create-npm-dirs',
    'napi artifacts',
    'scripts/prepare-publish.js npm',
    'napi pre-publish',
    'npm publish'
  ]
  const places = steps.map(one => workflow.indexOf(one))
  assert.ok(!places.includes(-1))
  assert.deepEqual(
    places,
    places.toSorted((a, b) => a - b)
  )
})

test('the README begins with what a user needs, and then has the clone', () => {
  const [install, clone] = ['npm install conflux', 'npm run quickstart'].map(command =>
    read('README.md').indexOf(command)
  )
  assert.ok(install > 0 && install < clone)
  assert.ok(install < read('README.md').indexOf('require('))
})
