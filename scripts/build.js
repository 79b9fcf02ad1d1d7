/**
 * Is `npm run build`: it makes the release addon beside index.js, and the loader that finds it.
 */
'use strict'

const { build, install, main } = require('./steps')

main(async () => {
  await install()
  await build()
})
