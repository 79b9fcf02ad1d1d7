/**
 * Measures locks with the workload of the package mutex-js (2016): ten processes, a task of 70 ms in each lock; all of them want
 * one lock, or each its own. A run in which two processes held one lock at a time fails.
 */
'use strict'

const PROCESSES = 10
const TASK_MS = 70

module.exports = {
  name: 'locks',
  title: 'ten processes, a lock around a task of 70 ms: time for each task, and beyond the tasks themselves',
  peers: ['conflux', 'conflux-tcp', 'conflux-local', 'set-nx', 'redlock', 'redlock-3', 'etcd'],
  unit: 'ms',
  deadlineSeconds: 120,
  cases: ({ isQuick }) => [
    { title: 'one lock', isContended: true, count: isQuick ? 3 : 10 },
    { title: 'ten locks', isContended: false, count: isQuick ? 10 : 40 }
  ],
  measure: async ({ which, start }) => {
    const { isContended, count } = which
    const cluster = await start({ size: PROCESSES, clients: PROCESSES, client: 'conflux-locks' })
    const key = id => (isContended ? 'lock' : `lock-${id}`)
    const run = count =>
      Promise.all(
        cluster.ids.map(id => cluster.ask(id, 'lockTasks', { key: key(id), count, taskMs: TASK_MS }))
      )
    await run(1)
    const from = performance.now()
    const held = await run(count)
    const each = (performance.now() - from) / (count * PROCESSES)
    for (const list of isContended ? [held.flat()] : held) assertAlone(list)
    const least = isContended ? TASK_MS : TASK_MS / PROCESSES
    return { 'each (ms)': each, 'beyond the task (ms)': each - least }
  }
}

/** No two held the lock at a time. */
function assertAlone(list) {
  list.sort((a, b) => a.from - b.from)
  for (let i = 1; i < list.length; i++) {
    if (list[i].from < list[i - 1].to) throw new Error('two processes held one lock at a time')
  }
}
