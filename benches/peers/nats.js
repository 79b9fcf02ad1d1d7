module.exports = { name: 'nats', title: 'nats', promise: '', missing: () => 'not written yet' }
