// Shows that react-redux, and React itself, follow a store that every node of a cluster has.

'use strict'

const assert = require('node:assert/strict')
const test = require('node:test')
const { createSelector, createSlice } = require('@reduxjs/toolkit')
const { act, createElement, memo, useSyncExternalStore } = require('react')
const { Provider, connect, useDispatch, useSelector, useStore } = require('react-redux')
const TestRenderer = require('react-test-renderer')

const { storeOptions, toStore } = require('../redux')
const { cluster } = require('../testing')
const { openOne } = require('./nodes')

globalThis.IS_REACT_ACT_ENVIRONMENT = true

const todos = createSlice({
  name: 'todos',
  initialState: [],
  reducers: { added: (state, { payload }) => void state.push(payload) }
})
const clicks = createSlice({
  name: 'clicks',
  initialState: 0,
  reducers: { clicked: state => state + 1 }
})

/** What stands on the page. */
const text = renderer =>
  [renderer.toJSON()]
    .flat()
    .map(({ children }) => (children ?? []).join(''))
    .join(' ')

async function render(t, element) {
  let renderer
  // React says what it warns of here.
  const { error } = console
  const said = []
  console.error = (...words) => said.push(words.join(' '))
  await act(async () => (renderer = TestRenderer.create(element)))
  t.after(async () => {
    await act(async () => renderer.unmount())
    console.error = error
    assert.deepEqual(
      said.filter(words => !words.includes('react-test-renderer is deprecated')),
      []
    )
  })
  return renderer
}

const withStore = (store, ...children) =>
  createElement(Provider, { store, stabilityCheck: 'always' }, ...children)

test('useSelector renders what any node of the cluster dispatched', async t => {
  const c = await cluster(3, storeOptions({ todos, clicks }))
  t.after(() => c.close())
  const [here, there] = c.nodes.map(node => toStore(node))
  const Todos = () =>
    createElement(
      'p',
      null,
      useSelector(state => state.todos.join(', '))
    )
  const renderer = await render(t, withStore(here, createElement(Todos)))
  assert.equal(text(renderer), '')
  await act(() => here.dispatch(todos.actions.added('milk')))
  assert.equal(text(renderer), 'milk')
  await act(async () => {
    await there.dispatch(todos.actions.added('bread'))
    await c.settled()
  })
  assert.equal(text(renderer), 'milk, bread')
})

test('a component renders again only when what it selects has changed', async t => {
  const store = toStore(openOne(t, storeOptions({ todos, clicks })))
  const renders = { todos: 0, clicks: 0 }
  const selectCount = createSelector([state => state.todos], all => ({ count: all.length }))
  const Todos = memo(() => {
    renders.todos++
    return createElement('p', null, useSelector(selectCount).count)
  })
  const Clicks = memo(() => {
    renders.clicks++
    return createElement(
      'p',
      null,
      useSelector(state => state.clicks)
    )
  })
  const renderer = await render(t, withStore(store, createElement(Todos), createElement(Clicks)))
  const before = { ...renders }
  for (let i = 0; i < 5; i++) await act(() => store.dispatch(clicks.actions.clicked()))
  assert.equal(text(renderer), '0 5')
  assert.deepEqual(renders, { todos: before.todos, clicks: before.clicks + 5 })
})

test('useDispatch gives the dispatch that returns a promise; useStore the store', async t => {
  const store = toStore(openOne(t, storeOptions({ todos, clicks })))
  let dispatch
  const Button = () => {
    dispatch = useDispatch()
    assert.equal(useStore(), store)
    const count = useSelector(state => state.clicks)
    return createElement('button', { onClick: () => dispatch(clicks.actions.clicked()) }, count)
  }
  const renderer = await render(t, withStore(store, createElement(Button)))
  assert.equal(dispatch, store.dispatch)
  await act(() => renderer.root.findByType('button').props.onClick())
  assert.equal(text(renderer), '1')
})

test('connect maps state and dispatch to properties', async t => {
  const store = toStore(openOne(t, storeOptions({ todos, clicks })))
  const Plain = ({ count, clicked }) => createElement('button', { onClick: clicked }, count)
  const Connected = connect(({ clicks }) => ({ count: clicks }), { clicked: () => clicks.actions.clicked() })(
    Plain
  )
  const renderer = await render(t, withStore(store, createElement(Connected)))
  await act(() => renderer.root.findByType('button').props.onClick())
  assert.equal(text(renderer), '1')
})

test('useSyncExternalStore follows a store, and a node, without any library', async t => {
  const node = openOne(t, storeOptions({ todos, clicks }))
  const store = toStore(node)
  const OfStore = () => createElement('p', null, useSyncExternalStore(store.subscribe, store.getState).clicks)
  const OfNode = () => createElement('p', null, useSyncExternalStore(node.subscribe, node.getState).clicks)
  const renderer = await render(t, [createElement(OfStore, { key: 1 }), createElement(OfNode, { key: 2 })])
  await act(() => store.dispatch(clicks.actions.clicked()))
  assert.equal(text(renderer), '1 1')
})

test('a component that is unmounted, or whose node is closed, leaves quietly', async t => {
  const node = openOne(t, storeOptions({ todos, clicks }))
  const store = toStore(node)
  const Clicks = () =>
    createElement(
      'p',
      null,
      useSelector(state => state.clicks)
    )
  const first = await render(t, withStore(store, createElement(Clicks)))
  await act(() => store.dispatch(clicks.actions.clicked()))
  await node.close()
  const second = await render(t, withStore(store, createElement(Clicks)))
  assert.deepEqual([text(first), text(second)], ['1', '1'])
})
