/**
 * Is `npm run pack:local`: it leaves in dist/ the two tarballs, the package and this platform's binary, that install
 * together into an empty folder without Rust and without a registry: `npm install ./dist/*.tgz`.
 */
'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { GLIBC_MAX, glibcOf } = require('./glibc')
const { copyNotices } = require('./prepare-publish')
const { Stop, build, install, main, manifest, npm, root, step, tool } = require('./steps')

/** Packs what is built into `folder` and returns the paths of the two tarballs. */
async function packLocal(folder) {
  const platform = platformName()
  const binary = `${manifest.napi.binaryName}.${platform}.node`
  if (!fs.existsSync(path.join(root, binary)))
    throw new Stop(`${binary} is not built: run \`npm run build\`.`)

  const workshop = fs.mkdtempSync(path.join(os.tmpdir(), 'conflux-pack-'))
  try {
    // The same tool that makes the published packages, so that these are the same.
    fs.copyFileSync(path.join(root, 'package.json'), path.join(workshop, 'package.json'))
    await tool('@napi-rs/cli', 'napi', ['create-npm-dirs', '--cwd', workshop], { quiet: true })
    const binaryPackage = path.join(workshop, 'npm', platform)
    fs.copyFileSync(path.join(root, binary), path.join(binaryPackage, binary))
    copyNotices(binaryPackage)
    fs.mkdirSync(folder, { recursive: true })
    for (const source of [root, binaryPackage]) {
      await npm(['pack', source, '--pack-destination', folder, '--silent'], { quiet: true })
    }
  } finally {
    fs.rmSync(workshop, { recursive: true })
  }
  return [manifest.name, `${manifest.name}-${platform}`].map(name =>
    path.join(folder, `${name}-${manifest.version}.tgz`)
  )
}

/** This platform as napi names it, for example `linux-x64-gnu`. */
function platformName() {
  const base = `${process.platform}-${process.arch}`
  if (process.platform === 'win32') return `${base}-msvc`
  if (process.platform !== 'linux') return base
  return process.report.getReport().header.glibcVersionRuntime ? `${base}-gnu` : `${base}-musl`
}

module.exports = { packLocal, platformName }

if (require.main === module) {
  main(async () => {
    await install()
    await build()
    const dist = path.join(root, 'dist')
    fs.rmSync(dist, { recursive: true, force: true })
    const tarballs = await step('Packing', () => packLocal(dist))
    console.log(`\nIn an empty folder: npm install ${tarballs.join(' ')}`)
    const binary = path.join(root, `${manifest.napi.binaryName}.${platformName()}.node`)
    const glibc = glibcOf(binary)
    if (glibc !== null) {
      console.log(`This build needs glibc ${glibc} where it runs; published ones need at most ${GLIBC_MAX}.`)
    }
  })
}
