/**
 * Takes the channel that docs/channels.md prints, for the tests.
 */
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const page = fs.readFileSync(path.join(__dirname, '..', 'docs', 'channels.md'), 'utf8')
const [, code] = /^```js\n(\/\/ broadcast-channel\.js\n[^]*?)^```$/m.exec(page)

const module_ = { exports: {} }
new Function('require', 'module', code)(require, module_)

module.exports = module_.exports
