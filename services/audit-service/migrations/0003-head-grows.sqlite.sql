-- The first start gives an empty log its first chain, so the size may stay 0.
create trigger audit_head_grows before update on audit_head
when new.size < old.size or (new.size = old.size and old.size > 0)
begin
  select raise(abort, 'the audit log is append-only: its size cannot become less');
end;
