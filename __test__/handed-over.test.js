/**
 * Shows that a delivery which cannot be transferred to JavaScript ends its node and every call of it, and nothing
 * else: neither the process nor the other nodes.
 *
 * What makes it fail is put in here: in a shipped package only a bug, or a text that is no string of JavaScript's,
 * does.
 */
'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')

const { runScript } = require('./nodes')

/** Two nodes more, so that the broken one waits for others; what `deliver` does is said by `isBroken`. */
const broken = `
  const { Inbox } = require(require('node:path').join(${JSON.stringify(__dirname)}, '../lib/inbox.js'))
  const inboxes = []
  const { deliver } = Inbox.prototype
  let failures = 0
  let target = null
  Inbox.prototype.deliver = function (...args) {
    if (!inboxes.includes(this)) inboxes.push(this)
    if (this === target && failures-- > 0) throw new Error('cannot be handed over')
    return deliver.apply(this, args)
  }
  const open = id => conflux({ ...options, id, clusterSize: 3, methods: { add: x => x } })
  const ends = async promise => promise.then(value => 'done ' + value, ({ code, outcome }) => code + ' ' + outcome)
`

test('a delivery that throws once on its way: the node fails, its calls end, the others go on', async () => {
  const { code, stdout, stderr } = await runScript(`
    ${broken}
    async function main() {
      const nodes = ['a', 'b', 'c'].map(open)
      await Promise.all(nodes.map(node => node.ready()))
      const broke = Promise.race(nodes.map(node => new Promise(resolve =>
        node.on('error', ({ code }) => resolve({ node, code })))))
      // Of which node it is shows only when it fails.
      target = inboxes[0]
      failures = 1
      const calls = new Map(nodes.map(node =>
        [node, [node.perform('add', [1]), node.sync({ timeout: 60000 })].map(ends)]))
      const { node, code } = await broke
      console.log('error', code)
      console.log((await Promise.all(calls.get(node))).join(', '))
      console.log(node.status().state, await ends(node.perform('add', [2])), await ends(node.ready()))
      const others = nodes.filter(other => other !== node)
      for (const other of others) console.log((await Promise.all(calls.get(other))).join(', '))
      console.log(await ends(others[0].perform('add', [3])))
      await Promise.all(nodes.map(node => node.close()))
    }
    main()
  `)
  assert.equal(code, 0, stderr)
  const [error, calls, after, ...others] = stdout.trim().split('\n')
  assert.equal(error, 'error ERR_CONFLUX_PANIC')
  assert.match(calls, /^ERR_CONFLUX_PANIC unknown, ERR_CONFLUX_PANIC unknown$/)
  assert.equal(after, 'failed ERR_CONFLUX_PANIC not-applied ERR_CONFLUX_PANIC not-applied')
  assert.deepEqual(others, ['done 1, done undefined', 'done 1, done undefined', 'done 3'])
})

test('a delivery that throws again and again ends no process', async () => {
  const { code, stdout, stderr } = await runScript(`
    ${broken}
    async function main() {
      const nodes = ['a', 'b', 'c'].map(open)
      await Promise.all(nodes.map(node => node.ready()))
      const node = nodes.find(node => node.status().role !== 'leader')
      const others = nodes.filter(other => other !== node)
      target = [...inboxes][nodes.indexOf(node)]
      failures = Infinity
      node.on('error', () => {})
      node.perform('add', [1]).catch(() => {})
      await new Promise(resolve => setTimeout(resolve, 500))
      console.log(await ends(others[0].perform('add', [3])))
      process.exit()
    }
    main()
  `)
  assert.equal(code, 0, stderr)
  assert.equal(stdout.trim(), 'done 3')
})
