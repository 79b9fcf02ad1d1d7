/**
 * Shows that the package loads wherever its addon can, also from bundles, and says in words why it does not
 * elsewhere.
 */
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')
const ts = require('typescript')

const { manifest } = require('../scripts/steps')
const { installPackage, makeEmptyProject, root, runFile } = require('./project')

const USE = `
  const node = conflux({
    id: 'a', clusterSize: 1, channel: { name: 'memory' },
    initialState: 0, methods: { add: n => n }, reduce: (sum, n) => sum + n
  })
  node.perform('add', [2]).then(() => {
    console.log('the sum is ' + node.getState())
    return node.close()
  })
`

/** What a mistake shows: where a method threw, each place once, and where the namesake of a node was opened. */
const MISTAKES = `
  globalThis.program = {
    open: () => conflux({
      id: 'b', clusterSize: 1, channel: { name: 'memory' }, initialState: 0, reduce: sum => sum,
      methods: { trip() { null.one }, fall() { null.two } }
    })
  }
  const first = program.open()
  const places = []
  first.on('warning', warning => places.push(/\\n +at (?:\\S*\\.)?(\\w+) /.exec(warning.stack)?.[1]))
  async function show() {
    for (const method of ['trip', 'trip', 'fall']) {
      const { remoteStack } = await first.perform(method).catch(error => error)
      console.log(method, /\\n +at (?:\\S*\\.)?(\\w+) /.exec(remoteStack)?.[1])
    }
    console.log('warnings', ...places)
    const second = program.open()
    const [failure] = await once(second, 'error')
    console.log('namesake', /opened at (?:\\S*\\.)?(\\w+) /.exec(failure.message)?.[1])
    await first.close()
  }
  show()
`

const SHOWN = ['trip trip', 'trip trip', 'fall fall', 'warnings trip fall', 'namesake open']

function makeInstalled(t) {
  const folder = makeEmptyProject(t)
  installPackage(folder)
  return folder
}

async function run(folder, name, code, env) {
  const file = path.join(folder, name)
  if (code !== undefined) fs.writeFileSync(file, code)
  return runFile(file, { env })
}

/** Each builds `app.mjs` of the folder into the file. Their configuration does not mention conflux. */
const BUNDLERS = {
  esbuild: (folder, file, format) =>
    require('esbuild').build({
      absWorkingDir: folder,
      entryPoints: ['app.mjs'],
      bundle: true,
      platform: 'node',
      format,
      outfile: file,
      logLevel: 'error',
      // docs/platforms.md: esbuild's own CommonJS in an ES module needs it, with any package.
      banner: { js: format === 'esm' ? BANNER : '' }
    }),

  webpack: (folder, file, format) =>
    new Promise((resolve, reject) => {
      const isModule = format === 'esm'
      const output = {
        path: folder,
        filename: file,
        module: isModule,
        chunkFormat: isModule ? 'module' : 'commonjs'
      }
      const experiments = { outputModule: isModule }
      require('webpack')(
        { mode: 'production', target: 'node', context: folder, entry: './app.mjs', output, experiments },
        (error, stats) => {
          if (error) reject(error)
          else if (stats.hasErrors() || stats.hasWarnings())
            reject(new Error(stats.toString('errors-warnings')))
          else resolve()
        }
      )
    }),

  async rollup(folder, file, format) {
    const plugins = [
      require('@rollup/plugin-node-resolve').default({ preferBuiltins: true, exportConditions: ['node'] }),
      require('@rollup/plugin-commonjs')()
    ]
    const onwarn = warning => {
      throw new Error(warning.message)
    }
    const bundle = await require('rollup').rollup({ input: path.join(folder, 'app.mjs'), plugins, onwarn })
    await bundle.write({ file: path.join(folder, file), format })
  },

  async vite(folder, file, format) {
    const { build } = await import('vite')
    await build({
      root: folder,
      configFile: false,
      logLevel: 'error',
      // By itself, Vite leaves packages out of what it builds for a server.
      ssr: { noExternal: true },
      build: {
        ssr: 'app.mjs',
        outDir: '.',
        emptyOutDir: false,
        rollupOptions: { output: { format, entryFileNames: file } }
      }
    })
  }
}

const [, BANNER] =
  /^ +js: "(.*)"$/m.exec(fs.readFileSync(path.join(root, 'docs', 'platforms.md'), 'utf8')) ?? []

test('the errors of an application show its places', async t => {
  const folder = makeInstalled(t)
  const app = `const conflux = require('conflux')\nconst { once } = require('node:events')\n${MISTAKES}`
  assert.deepEqual((await run(folder, 'app.js', app)).output.trim().split('\n'), SHOWN)
})

for (const [name, bundle] of Object.entries(BUNDLERS)) {
  for (const [format, ending] of [
    ['cjs', 'cjs'],
    ['esm', 'mjs']
  ]) {
    test(`${name}, ${format}: the bundle runs where the package is installed, and says so where it is not`, async t => {
      const folder = makeInstalled(t)
      fs.writeFileSync(path.join(folder, 'app.mjs'), `import conflux from 'conflux'\n${USE}`)
      const file = `bundle.${ending}`
      await bundle(folder, file, format)
      const bundled = fs.readFileSync(path.join(folder, file), 'utf8')
      assert.ok(bundled.includes('ERR_CONFLUX_BUSY'), 'it holds the package')
      assert.deepEqual(await run(folder, file), { code: 0, output: 'the sum is 2\n' })

      // Elsewhere, with what is installed there.
      const other = makeInstalled(t)
      fs.mkdirSync(path.join(other, 'deep'))
      assert.deepEqual(await run(path.join(other, 'deep'), file, bundled), {
        code: 0,
        output: 'the sum is 2\n'
      })

      const bare = makeEmptyProject(t)
      const { code, output } = await run(bare, file, bundled)
      assert.equal(code, 1)
      assert.match(output, /ERR_CONFLUX_NO_BINARY/)
      assert.match(output, /install the package conflux where the bundle runs/)
    })

    test(`${name}, ${format}: the errors of a bundled application show its places`, async t => {
      const folder = makeInstalled(t)
      const imports = "import conflux from 'conflux'\nimport { once } from 'node:events'"
      fs.writeFileSync(path.join(folder, 'app.mjs'), `${imports}\n${MISTAKES}`)
      const file = `bundle.${ending}`
      await bundle(folder, file, format)
      assert.deepEqual((await run(folder, file)).output.trim().split('\n'), SHOWN)
    })
  }
}

/** Runs a program on what looks like another platform. */
const onPlatform = (platform, arch, versions = {}) => `
  for (const [key, value] of Object.entries({ platform: '${platform}', arch: '${arch}' })) {
    Object.defineProperty(process, key, { value })
  }
  Object.defineProperty(process, 'versions', { value: { ...process.versions, ...${JSON.stringify(versions)} } })
`

test('on a platform without a binary, the error lists those that have one', async t => {
  const folder = makeInstalled(t)
  const names = manifest.napi.targets.map(target => {
    const [arch, , system, abi] = target.split('-')
    const name = { linux: 'linux', darwin: 'darwin', windows: 'win32' }[system]
    return [name, { x86_64: 'x64', aarch64: 'arm64' }[arch], abi].filter(part => part !== undefined).join('-')
  })
  for (const [platform, arch, shown] of [
    ['freebsd', 'x64', 'freebsd-x64'],
    ['linux', 'riscv64', /linux-riscv64-(gnu|musl)/.source],
    ['win32', 'ia32', 'win32-ia32-msvc']
  ]) {
    const { code, output } = await run(folder, 'app.js', `${onPlatform(platform, arch)}; require('conflux')`)
    assert.equal(code, 1)
    assert.match(output, new RegExp(`conflux has no native addon for ${shown}; there is one for each of`))
    assert.ok(output.includes(`one for each of ${names.sort().join(', ')}.`), output)
    assert.doesNotMatch(output, /install the package conflux-/)
  }
})

test('every entry rejects a Node below 20 with a clear error', async t => {
  const folder = makeInstalled(t)
  for (const entry of ['conflux', 'conflux/testing', 'conflux/redux', 'conflux/recipes', 'conflux/metrics']) {
    const before = onPlatform(process.platform, process.arch, { node: '18.20.4' })
    const { code, output } = await run(folder, 'app.js', `${before}; require('${entry}')`)
    assert.equal(code, 1)
    assert.match(output, /Error: conflux needs Node 20 or newer; this is Node 18\.20\.4/)
  }
})

test('what every entry reads before it knows the version is readable by any Node', () => {
  for (const file of [
    'index.js',
    'testing.js',
    'redux.js',
    'recipes.js',
    'metrics.js',
    'lib/node-version.js'
  ]) {
    const text = fs.readFileSync(path.join(root, file), 'utf8')
    const written = target => ts.transpileModule(text, { compilerOptions: { target } }).outputText
    // Whatever is newer is written in another way.
    assert.equal(written(ts.ScriptTarget.ES2015), written(ts.ScriptTarget.ESNext), file)
    const required = [...text.matchAll(/require\('(\.[^']+)'\)/g)].map(([, name]) => name)
    if (required.length > 0) assert.equal(required[0], './lib/node-version', file)
  }
})

test('an addon elsewhere that is not there, not whole, or not ours, is named', async t => {
  const folder = makeInstalled(t)
  const addon = fs.readdirSync(root).find(file => file.endsWith('.node'))
  const missing = path.join(folder, 'missing.node')
  const broken = path.join(folder, 'broken.node')
  const foreign = path.join(folder, 'foreign.js')
  fs.writeFileSync(broken, 'not an addon')
  fs.writeFileSync(foreign, 'module.exports = { other: true }')
  for (const [file, why] of [
    [missing, /does not load/],
    [broken, /does not load/],
    [foreign, /names another addon than that of conflux/]
  ]) {
    const env = { NAPI_RS_NATIVE_LIBRARY_PATH: file }
    const { code, output } = await run(folder, 'app.js', `require('conflux')`, env)
    assert.equal(code, 1, output)
    assert.match(output, why)
    assert.match(output, /ERR_CONFLUX_NO_BINARY/)
    assert.ok(output.includes(`NAPI_RS_NATIVE_LIBRARY_PATH`) && output.includes(file), output)
  }
  const env = { NAPI_RS_NATIVE_LIBRARY_PATH: path.join(root, addon) }
  const { output } = await run(folder, 'app.js', `const conflux = require('conflux')\n${USE}`, env)
  assert.equal(output, 'the sum is 2\n')
})

test('looking up the platform asks no name server', async t => {
  const folder = makeInstalled(t)
  fs.rmSync(path.join(folder, 'node_modules', 'conflux', 'binding.js'))
  const { output } = await run(
    folder,
    'app.js',
    `const { getReport } = process.report
     process.report.getReport = function () {
       console.log('excludes the network:', process.report.excludeNetwork)
       return getReport.call(this)
     }
     const before = process.report.excludeNetwork
     try { require('conflux') } catch {}
     console.log('as before:', process.report.excludeNetwork === before)`
  )
  if (process.platform === 'linux') assert.match(output, /^excludes the network: true\n/)
  assert.doesNotMatch(output, /excludes the network: (false|undefined)/)
  assert.match(output, /as before: true\n$/)
})

test('two copies in one process cause one warning, with both paths, and only on the memory channel', async t => {
  const folder = makeInstalled(t)
  const other = path.join(folder, 'node_modules', 'other')
  fs.mkdirSync(path.join(other, 'node_modules'), { recursive: true })
  installPackage(other)
  fs.writeFileSync(path.join(other, 'index.js'), `module.exports = require('conflux')`)
  const code = (first, second) => `
    const copies = [require('conflux'), require('other')]
    const options = {
      clusterSize: 1, initialState: 0, methods: { add: n => n }, reduce: (sum, n) => sum + n
    }
    const nodes = [0, 1, 1, 0].map((copy, i) => {
      const channel = copy === 0 ? ${JSON.stringify(first)} : ${JSON.stringify(second)}
      return copies[copy]({ ...options, id: 'n' + i, channel: { channelName: 'c' + i, ...channel } })
    })
    process.on('warning', ({ code, message }) => code === 'WARN_CONFLUX_TWO_COPIES' && console.log(message))
    setTimeout(() => nodes.forEach(node => node.close()), 200)
  `
  const memory = { name: 'memory' }
  const { output } = await run(folder, 'app.js', code(memory, memory), { NODE_NO_WARNINGS: '1' })
  const paths = [folder, other].map(where => fs.realpathSync(path.join(where, 'node_modules', 'conflux')))
  const lines = output.split('\n').filter(Boolean)
  assert.equal(lines.length, 1, output)
  assert.ok(lines[0].endsWith(`do not meet on the memory channel: ${paths[0]} and ${paths[1]}`), output)

  const redis = { name: 'redis', port: 1 }
  assert.equal((await run(folder, 'app.js', code(redis, memory), { NODE_NO_WARNINGS: '1' })).output, '')
})

test('one copy that is evaluated again, or bundled beside the installed one, is one', async t => {
  const folder = makeInstalled(t)
  fs.writeFileSync(path.join(folder, 'app.mjs'), `export { default } from 'conflux'`)
  await BUNDLERS.esbuild(folder, path.join(folder, 'bundle.cjs'), 'cjs')
  const { output } = await run(
    folder,
    'app.js',
    `const copies = [require('conflux'), require('./bundle.cjs').default]
     for (const name of Object.keys(require.cache)) if (!name.endsWith('.node')) delete require.cache[name]
     copies.push(require('conflux'))
     const options = { clusterSize: 3, initialState: 0, methods: { add: n => n }, reduce: (sum, n) => sum + n }
     const nodes = copies.map((conflux, i) => conflux({ ...options, id: 'n' + i, channel: { name: 'memory' } }))
     Promise.all(nodes.map(node => node.perform('add', [1])))
       .then(() => nodes[0].sync())
       .then(() => console.log('they meet:', nodes[0].getState()))
       .then(() => nodes.forEach(node => node.close()))`
  )
  assert.equal(output, 'they meet: 3\n')
})
