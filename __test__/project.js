/**
 * Makes an empty project outside of the repository in which `require('conflux')` is this package.
 *
 * Called by tests that run code as a user would. It never writes into the repository.
 */
'use strict'

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { manifest, root } = require('../scripts/steps')

/** A folder with `node_modules/conflux` in it; removed when the test ends. */
function makeProject(t) {
  const folder = makeEmptyProject(t)
  link(folder, 'conflux', root)
  return folder
}

/** One with an empty `node_modules`. */
function makeEmptyProject(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-project-'))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  fs.mkdirSync(path.join(folder, 'node_modules'))
  return folder
}

function link(folder, name, target) {
  const place = path.join(folder, 'node_modules', name)
  fs.mkdirSync(path.dirname(place), { recursive: true })
  // A junction needs no rights on Windows; elsewhere the word is ignored.
  fs.symlinkSync(target, place, 'junction')
}

/** The files of this package as npm installs them, and the addon beside them. */
function installPackage(folder, name = 'conflux') {
  const place = path.join(folder, 'node_modules', name)
  const addons = fs.readdirSync(root).filter(file => file.endsWith('.node'))
  for (const file of [...manifest.files, 'package.json', ...addons]) {
    fs.cpSync(path.join(root, file), path.join(place, file), { recursive: true })
  }
  for (const dependency of manifest.bundleDependencies) {
    const within = path.join('node_modules', dependency)
    fs.cpSync(path.join(root, within), path.join(place, within), { recursive: true })
  }
  return place
}

/** Runs a file to its end; resolves with its exit code and all it printed. Killed after `seconds`. */
async function runFile(file, { cwd = path.dirname(file), seconds = 60, env = {} } = {}) {
  const child = spawn(process.execPath, [file], {
    cwd,
    env: { ...process.env, ...env, NODE_TEST_CONTEXT: undefined },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', text => (output += text))
  }
  const limit = setTimeout(() => child.kill('SIGKILL'), seconds * 1000)
  const [code, signal] = await once(child, 'close')
  clearTimeout(limit)
  return { code, output: signal ? `${output}\n(ended by ${signal})` : output }
}

/** Compiles the files of a folder, or of a `tsconfig.json`: `{ code, output }`, what the compiler says of them. */
async function compile(project, compiler = 'typescript') {
  const folder = path.join(root, 'node_modules', compiler)
  const { bin } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'))
  const child = spawn(process.execPath, [path.join(folder, bin.tsc), '--project', project])
  let output = ''
  child.stdout.setEncoding('utf8').on('data', text => (output += text))
  const [code] = await once(child, 'close')
  return { code, output }
}

module.exports = { compile, installPackage, link, makeEmptyProject, makeProject, root, runFile }
