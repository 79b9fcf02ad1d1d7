module.exports = { name: 'etcd', title: 'etcd', promise: '', missing: () => 'not written yet' }
