-- Whether everybody may read the public halves of the vault's keys.
alter table vault add column public_jwks bigint not null default 0;
