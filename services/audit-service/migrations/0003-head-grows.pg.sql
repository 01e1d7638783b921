-- The first start gives an empty log its first chain, so the size may stay 0.
create function refuse_shorter_log() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is append-only: its size % cannot become %', old.size, new.size;
end
$$;

create trigger audit_head_grows
  before update on audit_head
  for each row when (new.size < old.size or (new.size = old.size and old.size > 0))
  execute function refuse_shorter_log();
