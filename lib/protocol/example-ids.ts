/** Ids of the examples in the contracts. No server has ever made them. */
export const exampleIds = {
  thread: '019ab3c0-1f00-7a10-8b00-0000000000a1',
  message: '019ab3c0-1f01-7a10-8b00-0000000000b1',
  answer: '019ab3c0-1f02-7a10-8b00-0000000000b2',
  run: 'run_019ab3c0-1f00-7a10-8b00-0000000000a1_019ab3c0-1f03-7a10-8b00-0000000000c1',
  event: '019ab3c0-1f04-7a10-8b00-0000000000d1',
  request: '019ab3c0-1f05-7a10-8b00-0000000000e1',
  connection: '019ab3c0-1f06-7a10-8b00-0000000000f1',
  epoch: '6e1c54f0a2b94d0c',
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
} as const
