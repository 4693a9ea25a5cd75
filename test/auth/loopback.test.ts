import t from 'tap'
import { isLoopbackAddress, isLoopbackHost } from '../../lib/auth/loopback.ts'

t.test('addresses that only this machine can reach are loopback', async (t) => {
  for (const address of ['127.0.0.1', '127.1.2.3', '127.255.255.255', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '::ffff:7f00:1']) {
    t.ok(isLoopbackAddress(address), address)
  }
})

t.test('every other address, and what is none, is not loopback', async (t) => {
  for (const address of ['0.0.0.0', '::', '10.0.0.1', '128.0.0.1', '::ffff:10.0.0.1', '::2', 'fe80::1', '', 'localhost', undefined]) {
    t.notOk(isLoopbackAddress(address), String(address))
  }
})

t.test('names of this machine are loopback, and names that only look like it are not', async (t) => {
  for (const host of ['localhost', 'LOCALHOST', 'app.localhost', '127.0.0.1', '::1', '[::1]']) t.ok(isLoopbackHost(host), host)
  for (const host of ['', '0.0.0.0', 'localhost.example', 'notlocalhost', '127.0.0.1.example', '[::2]', 'example.com']) {
    t.notOk(isLoopbackHost(host), host)
  }
})
