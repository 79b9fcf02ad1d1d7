// cron.js: a task of node-cron that three processes schedule, and one of them runs each time
//
// Needs node-cron: npm install node-cron. Three nodes in one process, to be run alone: node examples/cron.js. In production
// each node is a process of its own; all of them schedule the same tasks.
const cron = require('node-cron')
const conflux = require('conflux')
const { compose, jobs } = require('conflux/recipes')

const RUNS = 2
const runs = []

const nodes = ['a', 'b', 'c'].map(id =>
  conflux({
    id,
    clusterSize: 3,
    channel: { name: 'memory', channelName: 'cron-example' },
    ...compose({ jobs: jobs() })
  })
)

const tasks = nodes.map(node => {
  const { id } = node.status()
  const report = ({ date }) => {
    runs.push(date.toISOString())
    console.log(`${date.toISOString()}: ${id} runs the report`)
    if (runs.length === RUNS) end()
  }
  // This option is the only change.
  const runCoordinator = jobs.client(node, 'jobs')
  return cron.schedule('* * * * * *', report, { name: 'report', distributed: true, runCoordinator })
})

function end() {
  for (const task of tasks) task.destroy()
  if (new Set(runs).size !== runs.length) process.exitCode = 1
  // node-cron reports the end of the last run, and then the nodes close.
  const [node] = nodes
  const unwatch = node.watch(
    () => jobs.client(node, 'jobs').list()[0].completedAt,
    completedAt => {
      if (completedAt === null) return
      unwatch()
      for (const node of nodes) node.close()
    }
  )
}
