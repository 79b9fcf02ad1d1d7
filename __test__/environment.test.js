/**
 * Shows that a node does not depend on what an application's tests replace: timers, clocks, ticks, microtasks,
 * stderr; whether they do so before conflux is loaded or while a node is open.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')
const ts = require('typescript')

const { runScript } = require('./nodes')

const LIB = path.join(__dirname, '..', 'lib')

/** Each is the source of a function body that replaces something. */
const REPLACEMENTS = {
  'performance is a stub without now': `globalThis.performance = { timing: {} }`,
  'performance.now throws': `performance.now = () => { throw new Error('performance.now was called') }`,
  'performance.now stands still': `performance.now = () => 0`,
  'process.nextTick keeps what it is given': `process.nextTick = () => {}`,
  'queueMicrotask keeps what it is given': `globalThis.queueMicrotask = () => {}`,
  'the timers of node:test': `require('node:test').mock.timers.enable()`,
  'all timers keep what they are given': `
    for (const scope of [globalThis, require('node:timers')]) {
      for (const name of ['setTimeout', 'setInterval', 'setImmediate']) scope[name] = () => ({ unref() {}, ref() {} })
      for (const name of ['clearTimeout', 'clearInterval', 'clearImmediate']) scope[name] = () => {}
    }`,
  'all timers throw': `
    for (const scope of [globalThis, require('node:timers')]) {
      for (const name of ['setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval', 'clearImmediate']) {
        scope[name] = () => { throw new Error(name + ' was called') }
      }
    }`,
  'no Promise, Date, Buffer, console, emitWarning': `
    for (const name of ['Promise', 'Date', 'Buffer', 'console', 'performance']) globalThis[name] = undefined
    process.emitWarning = () => { throw new Error('emitWarning was called') }
    process.hrtime = () => { throw new Error('hrtime was called') }`
}
REPLACEMENTS.everything = Object.values(REPLACEMENTS)
  .map(body => `{ ${body} }`)
  .join('\n')

/** Prints how calls of each kind end. Has real timers of its own, which were taken before anything was replaced. */
const USE = `
  const within = async (promise, what) => {
    let timer
    const late = new NativePromise((_, reject) => (timer = real.setTimeout(reject, 10000, new Error(what + ' hangs'))))
    try { return await NativePromise.race([promise, late]) } finally { real.clearTimeout(timer) }
  }
  const code = promise => promise.then(() => 'no error', error => error.code)
  async function use() {
    const [node, other] = ['c', 'd'].map(name => makeNode(name, 1))
    await within(node.ready({ timeout: 9000 }), 'ready')
    for (let i = 0; i < 300; i++) await within(node.perform('append', [i], 9000), 'perform')
    await within(new NativePromise(resolve => node.perform('append', ['callback'], resolve)), 'a callback')
    await within(node.sync(), 'sync')
    const lonely = makeNode('e', 2)
    const codes = [
      await within(code(lonely.perform('append', [1], 50)), 'a timeout'),
      await within(code(lonely.ready({ timeout: 50 })), 'a timeout of ready'),
      await within(code(lonely.sync({ timeout: 50 })), 'a timeout of sync')
    ]
    await within(lonely.close({ timeout: 50 }), 'close')
    await within(other.close(), 'close')
    const { length } = node.getState()
    await within(node.close(), 'close')
    write([length, ...codes, node.status().state].join(' ') + '\\n')
  }
  const makeNode = (name, clusterSize) => conflux({
    ...options, id: name, clusterSize, channel: { name: 'memory', channelName: name },
    reduce: (state = [], action) => action === null ? state : [...state, action],
    snapshot: { entries: 20 }
  })
`

const SAVE = `
  const real = { ...require('node:timers') }
  const NativePromise = Promise
  const write = text => require('node:fs').writeSync(1, text)
`

const EXPECTED = '301 ERR_CONFLUX_TIMEOUT ERR_CONFLUX_TIMEOUT ERR_CONFLUX_NO_QUORUM closed\n'

for (const [what, replace] of Object.entries(REPLACEMENTS)) {
  test(`replaced after loading: ${what}`, async () => {
    const { code, stdout, stderr } = await runScript(`${SAVE} ${USE}
      ;(() => { ${replace} })()
      use()`)
    assert.deepEqual([code, stdout], [0, EXPECTED], stderr)
  })

  test(`replaced before loading: ${what}`, async () => {
    const { code, stdout, stderr } = await runScript(`${USE} use()`, `${SAVE} ;(() => { ${replace} })()`)
    assert.deepEqual([code, stdout], [0, EXPECTED], stderr)
  })
}

test('no file of lib but environment.js names a global of Node', () => {
  const faults = []
  for (const file of fs.readdirSync(LIB, { recursive: true })) {
    if (file === 'environment.js' || !file.endsWith('.js')) continue
    for (const name of freeNames(fs.readFileSync(path.join(LIB, file), 'utf8'))) {
      if (!LANGUAGE.has(name)) faults.push(`lib/${file} names \`${name}\`; take it from environment.js`)
    }
  }
  assert.deepEqual(faults, [])
})

test('names that are not declared are found', () => {
  const text = `const { nextTick } = x; class A { #b = process.env; c(d) { setTimeout(d.performance) } }`
  assert.deepEqual([...freeNames(text)].sort(), ['process', 'setTimeout', 'x'])
})

const LANGUAGE = new Set(
  `require module __dirname __filename undefined Infinity Array Atomics Error Float64Array Int32Array JSON Map Math Number Object Proxy Reflect Set
  SharedArrayBuffer String Symbol TypeError RangeError Uint32Array WeakMap WeakSet`.split(/\s+/)
)

/** The names that a file uses and does not declare. */
function freeNames(text) {
  const source = ts.createSourceFile('file.js', text, ts.ScriptTarget.ESNext, true, ts.ScriptKind.JS)
  const declared = new Set()
  const used = new Set()
  const visit = node => {
    if (ts.isIdentifier(node))
      (isDeclaration(node) ? declared : isName(node) ? new Set() : used).add(node.text)
    ts.forEachChild(node, visit)
  }
  visit(source)
  return new Set([...used].filter(name => !declared.has(name)))
}

function isDeclaration(node) {
  const { parent } = node
  return (
    (ts.isVariableDeclaration(parent) ||
      ts.isParameter(parent) ||
      ts.isBindingElement(parent) ||
      ts.isFunctionDeclaration(parent) ||
      ts.isFunctionExpression(parent) ||
      ts.isClassDeclaration(parent)) &&
    parent.name === node
  )
}

/** Of a property or a member: not a variable. */
function isName(node) {
  const { parent } = node
  return (
    (ts.isPropertyAccessExpression(parent) && parent.name === node) ||
    (ts.isBindingElement(parent) && parent.propertyName === node) ||
    ((ts.isPropertyAssignment(parent) ||
      ts.isMethodDeclaration(parent) ||
      ts.isPropertyDeclaration(parent) ||
      ts.isAccessor(parent)) &&
      parent.name === node)
  )
}

test('a node that fails without an error listener writes to stderr, and its process exits with 1', async () => {
  const { code, stdout, stderr } = await runScript(`
    const first = conflux(options)
    first.ready().then(() => {
      const second = conflux(options)
      const wait = setInterval(() => {
        if (second.status().state !== 'failed') return
        clearInterval(wait)
        console.log('alive', process.exitCode)
        first.close()
      }, 5)
    })
  `)
  assert.deepEqual([code, stdout], [1, 'alive 1\n'])
  assert.match(stderr, /^conflux node "a" failed: .* \(ERR_CONFLUX_DUPLICATE_ID\)\n$/)
})

test('an exit code that the application has set stays, and so does that of a failure which it hears of', async () => {
  for (const [prepare, expected] of [
    ['process.exitCode = 7', 7],
    ['listens = true', 0]
  ]) {
    const { code } = await runScript(`
      let listens = false
      ${prepare}
      const first = conflux(options)
      first.ready().then(() => {
        const second = conflux(options)
        if (listens) second.on('error', () => {})
        second.on('close', () => first.close())
      })
    `)
    assert.equal(code, expected)
  }
})

test('a failure is no fault of a process whose stderr is closed', async () => {
  const { code, stdout } = await runScript(`
    const { spawn } = require('node:child_process')
    if (process.argv[1] !== 'child') {
      const child = spawn(process.execPath, ['-e', process.env.SCRIPT, 'child'], { stdio: ['pipe', 'inherit', 'pipe'] })
      child.stderr.destroy()
      child.stdin.end('go')
      child.on('exit', (code, signal) => console.log(code ?? signal))
    } else process.stdin.once('data', () => setTimeout(async () => {
      const first = conflux(options)
      await first.ready()
      const second = conflux(options)
      second.on('close', () => setTimeout(() => { console.log('alive'); process.exit(0) }, 100))
    }, 200))
  `)
  assert.deepEqual([code, stdout], [0, 'alive\n0\n'])
})
