import { describe, expect, test } from '@jest/globals';
import { parseChoices } from './choices.ts';

test('what a command line does not say about a stack is not in the choices', () => {
  expect(parseChoices([])).toEqual({
    action: 'install',
    folder: 'stack',
    yes: false,
    deleteData: false,
    patienceSeconds: 300,
  });
});

test('every option is read', () => {
  const words =
    '--profile full --domain Cardea.example.com,192.0.2.7,::1 --yes --certificate c.pem --key k.pem --https-port 8443 ' +
    '--http-port 8080 --grafana-port 3001 --subnet 10.1.2 --folder /srv/cardea --name blue --patience 60';
  expect(parseChoices(words.split(' '))).toEqual({
    action: 'install',
    profile: 'full',
    hosts: ['cardea.example.com', '192.0.2.7', '::1'],
    certificate: { certificate: 'c.pem', key: 'k.pem' },
    folder: '/srv/cardea',
    name: 'blue',
    httpsPort: 8443,
    httpPort: 8080,
    grafanaPort: 3001,
    subnet: '10.1.2',
    yes: true,
    deleteData: false,
    patienceSeconds: 60,
  });
});

describe('refused with the reason:', () => {
  test.each([
    ['--profile big', 'there is no profile "big": choose mini or full'],
    ['--domain a_b', '"a_b" is neither the name nor the address of a machine'],
    ['--domain a,,b', '"" is neither'],
    ['--domain $(id)', 'is neither'],
    ['--https-port 0', '--https-port is "0": a port is a number from 1 to 65535'],
    ['--http-port 65536', '--http-port is "65536"'],
    ['--subnet 10.1', '--subnet is "10.1": write three numbers'],
    ['--subnet 10.1.256', '--subnet is'],
    ['--folder a:b', '--folder is "a:b": Docker takes no folder with a colon'],
    ['--name A', '--name "A" must be'],
    ['--patience 0', '--patience is "0"'],
    ['--certificate c.pem', '--certificate and --key belong together'],
    ['--key k.pem', '--certificate and --key belong together'],
    ['--delete-data', '--delete-data belongs to --uninstall'],
    ['--upgrade --uninstall', 'choose one of'],
    ['--upgrade --certificate c.pem --key k.pem', 'belong to a run without --upgrade'],
    ['--uninstall --certificate c.pem --key k.pem', 'belong to a run without --upgrade and --uninstall'],
    ['--patience -5', '--patience is "-5": write a number of seconds'],
    ['--profile --yes', '--profile needs a value after it'],
    ['--yes=no', '--yes takes no value'],
    ['--check-settings --upgrade', 'choose one of --upgrade and --check-settings'],
    ['--domian a', 'there is no option --domian, --domain is the nearest one'],
    ['-y', 'there is no option -y'],
    ['surprise', 'npx -y pnpm@12 run stack'],
  ])('%s', (words, message) => {
    expect(() => parseChoices(words.split(' '))).toThrow(message);
  });
});

test('all that is wrong is named at once', () => {
  const words = '--patience -5 --https-port x --domain a_b,c_d --nmae b --delete-data here';
  const problems = [
    'there is no option --nmae, --name is the nearest one',
    '"b" is not understood here',
    '"here" is not understood here',
    '"a_b" is neither the name nor the address of a machine',
    '"c_d" is neither the name nor the address of a machine',
    '--https-port is "x": a port is a number from 1 to 65535',
    '--patience is "-5": write a number of seconds',
    '--delete-data belongs to --uninstall',
  ];
  expect(() => parseChoices(words.split(' '))).toThrow(`${problems.join('\n')}\n\nnpx -y pnpm@12 run stack`);
});
