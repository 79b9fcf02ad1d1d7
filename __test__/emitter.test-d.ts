// Compiled, never run, with the types of Node: a node is one of its emitters.
import { EventEmitter, on, once } from 'node:events'
import conflux = require('..')

declare const node: conflux.Node<number, { add(n: number): number }>

const emitter: EventEmitter = node
const { signal } = new AbortController()

async function uses() {
  const [leader] = await once(node, 'leader', { signal })
  for await (const [role] of on(node, 'role', { signal })) return role
  EventEmitter.setMaxListeners(20, node)
  await node.perform('add', [1], { signal })
  await node.sync({ signal })
  return leader
}

async function disposes() {
  await using own: conflux.Node = node
  return own.status()
}

export { disposes, emitter, uses }
