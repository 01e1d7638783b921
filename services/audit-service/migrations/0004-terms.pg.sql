-- Which entries have which term: see src/index/terms.ts. Derived from the entries, and may be made again at any time.
create table audit_term (
  term bigint not null,
  seq bigint not null,
  primary key (term, seq)
);

-- The first `size` entries have their terms.
create table audit_indexed (
  id bigint primary key check (id = 1),
  size bigint not null
);

insert into audit_indexed (id, size) values (1, 0);
